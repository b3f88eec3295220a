'use strict';
// The promise face under test: ours, or the `sqlite` package when KITHDB_SQLITE_SUBJECT names its directory.
module.exports = require(process.env.KITHDB_SQLITE_SUBJECT || '../lib/promises');
