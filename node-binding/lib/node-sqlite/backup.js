'use strict';
// backup(): copies a database to a file while it stays in use, some pages per turn of the event loop.

const { load, numbers } = require('../addon');
const { innerOf } = require('../inner');
const { checkFunction, checkInteger, checkOptions, checkPath, checkString, isObject, option } = require('./check');
const { invalidState, invalidType, outOfRange, sqliteError } = require('./errors');

const addon = load();
const RATE = 100;
const SQLITE_BUSY = 5;

module.exports = function backup(sourceDb, path, ...rest) {
	if (!isObject(sourceDb)) throw invalidType('The "sourceDb" argument must be an object.');
	const name = checkPath(path);
	const { connection } = innerOf(sourceDb);
	if (connection === null) throw invalidState('database is not open');
	const options = rest.length === 0 ? {} : checkOptions(rest[0]);
	const rate = option(options, 'rate', checkInteger, RATE);
	if (rate < 1) throw outOfRange('The "options.rate" argument must be a positive integer.');
	const source = option(options, 'source', checkString, 'main');
	const target = option(options, 'target', checkString, 'main');
	const progress = option(options, 'progress', checkFunction);
	return copy(connection, name, { rate, source, target, progress });
};

async function copy(connection, name, { rate, source, target, progress }) {
	const running = addon.nodeBackupBegin(connection.handle, source, name, target);
	// What has come of it, once it is done.
	let total;
	const step = (pages) => {
		addon.nodeBackupStep(running, pages);
		const [totalPages, remainingPages, isDone, isBlocked] = numbers;
		if (isBlocked) throw sqliteError('database is locked', SQLITE_BUSY, 'database is locked');
		if (isDone) total = totalPages;
		return { totalPages, remainingPages };
	};
	// With the connection's end all that is left is copied at once.
	const pending = { complete: () => step(-1) };
	connection.backups.add(pending);
	try {
		for (;;) {
			await new Promise(setImmediate);
			if (total !== undefined) return total;
			const { totalPages, remainingPages } = step(rate);
			if (total !== undefined) return total;
			progress?.({ totalPages, remainingPages });
		}
	} finally {
		connection.backups.delete(pending);
		addon.backupEnd(running);
	}
}
