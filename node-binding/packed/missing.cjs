'use strict';
// Run after the platform's package was taken away: the error names it.
const assert = require('node:assert/strict');
const Database = require('kithdb');

assert.throws(() => new Database(':memory:'), {
	name: 'Error',
	message: new RegExp(`^KithDB's addon for ${process.platform} on ${process.arch} is not installed: its package, @kithdb/\\S+, is an optional dependency`),
});
