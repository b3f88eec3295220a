'use strict';
// The module under test: ours, or the original when KITHDB_NODE_SQLITE_SUBJECT says node:sqlite.
module.exports = require(process.env.KITHDB_NODE_SQLITE_SUBJECT || '../lib/node-sqlite');
