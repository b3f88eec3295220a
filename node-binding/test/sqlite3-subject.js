'use strict';
// The callback face under test: ours, or the original when KITHDB_SQLITE3_SUBJECT names its directory.
module.exports = require(process.env.KITHDB_SQLITE3_SUBJECT || '../lib/sqlite3');
