'use strict';
// kithdb/sqlite3: the face of node-sqlite3.

const path = require('path');
const { load } = require('../addon');
const { OPEN, CODES, LIMITS } = require('./constants');
const Backup = require('./backup');
const Database = require('./database');
const { Statement } = require('./statement');
const makeVerbose = require('./verbose');

const [VERSION, SOURCE_ID] = load().callbackVersion();
const [major, minor, patch] = VERSION.split('.').map(Number);

const cached = {
	/** Opens a file once: who opens it again gets the same database, also by `new`, which a method does not allow. */
	Database: function (file, ...given) {
		if (file === '' || file === ':memory:') return new Database(file, ...given);
		const name = path.resolve(file);
		const known = cached.objects[name];
		if (known === undefined) return (cached.objects[name] = new Database(name, ...given));
		const callback = typeof given[0] === 'number' ? given[1] : given[0];
		if (typeof callback === 'function') {
			const tell = () => callback.call(known, null);
			if (known.open) process.nextTick(tell);
			else known.once('open', tell);
		}
		return known;
	},
	objects: {},
};

let isVerbose = false;

/** Has errors tell where the method was called whose callback they are given to. */
function verbose() {
	if (!isVerbose) {
		isVerbose = true;
		makeVerbose({ Database, Statement });
	}
	return module.exports;
}

const constants = {
	...OPEN,
	VERSION,
	SOURCE_ID,
	VERSION_NUMBER: major * 1000000 + minor * 1000 + patch,
	...CODES,
	...LIMITS,
};

module.exports = { Database, Statement, Backup, cached, verbose };
// Where the addon lies, as the original says it.
module.exports.path = path.join(__dirname, '..', '..', 'build', 'kithdb.node');
for (const [name, value] of Object.entries(constants)) {
	Object.defineProperty(module.exports, name, { value, enumerable: true, configurable: true });
}
