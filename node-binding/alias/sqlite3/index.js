'use strict';
module.exports = require('kithdb/sqlite3');
