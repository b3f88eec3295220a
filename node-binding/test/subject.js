'use strict';
// The module under test: ours, or the original when KITHDB_SUBJECT names its directory.
module.exports = require(process.env.KITHDB_SUBJECT || '..');
