'use strict';
// The face of node:sqlite.

const { Database } = require('./database');
const { Statement } = require('./statement');
const { Session } = require('./session');
const backup = require('./backup');
const constants = require('./constants');

module.exports = {
	Database,
	DatabaseSync: Database,
	Statement,
	StatementSync: Statement,
	Session,
	constants,
	backup,
};
