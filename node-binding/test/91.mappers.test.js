'use strict';
// What programs under mappers have found; orms/ proves each on the original.
const assert = require('node:assert/strict');
const { test } = require('node:test');
const sqlite3 = require('../lib/sqlite3');
const { freshPath } = require('./support');

test('a cached database can be asked for by new, as the sqlite wrapper does', async () => {
	const file = freshPath();
	const first = await new Promise((resolve, reject) => {
		const db = new sqlite3.cached.Database(file, (error) => { error ? reject(error) : resolve(db); });
	});
	assert.ok(first instanceof sqlite3.Database);
	assert.equal(new sqlite3.cached.Database(file), first);
	await new Promise((resolve) => { first.close(resolve); });
});
