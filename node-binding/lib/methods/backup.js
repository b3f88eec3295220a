'use strict';
// db.backup(): copies the database to a file while it stays in use, some pages per turn of the event loop.

const fs = require('fs');
const path = require('path');
const { performance } = require('perf_hooks');
const { numbers } = require('../addon');
const { innerOf } = require('../inner');
const SqliteError = require('../sqlite-error');
const { checkString, checkOptions, attachedName } = require('../check');

const PAGES = 100;
const PAGES_MAX = 0x7fffffff;
// How long to wait before what a lock was in the way of is tried again, and for how long if nothing could be copied yet.
const AGAIN_MS = 10;
const PATIENCE_MS = 5000;

module.exports = async function backup(filename, options) {
	options ??= {};
	const { addon, handle } = innerOf(this);
	checkString(filename, 'first');
	checkOptions(options, 'second');
	filename = filename.trim();
	const attached = attachedName(options);
	const progress = 'progress' in options ? options.progress : null;
	if (!filename) throw new TypeError('Backup filename cannot be an empty string');
	if (filename === ':memory:') throw new TypeError('Invalid backup filename ":memory:"');
	if (progress != null && typeof progress !== 'function') {
		throw new TypeError('Expected the "progress" option to be a function');
	}
	const isThere = (file) => fs.promises.access(file).then(() => true, () => false);
	if (!(await isThere(path.dirname(filename)))) {
		throw new TypeError('Cannot save backup because the directory does not exist');
	}
	const isNew = !(await isThere(filename));
	const running = addon.backupBegin(handle, attached, filename);
	try {
		return await copy(addon, running, progress);
	} catch (error) {
		addon.backupEnd(running);
		if (isNew) await fs.promises.rm(filename, { force: true });
		throw error;
	}
};

async function copy(addon, running, progress) {
	let pages = 0;
	let isFirst = true;
	let giveUpAt;
	for (;;) {
		addon.backupStep(running, pages);
		const [totalPages, remainingPages, isDone, isBlocked] = numbers;
		if (isDone) return { totalPages, remainingPages };
		if (isBlocked && totalPages === 0) {
			giveUpAt ??= performance.now() + PATIENCE_MS;
			if (performance.now() >= giveUpAt) throw new SqliteError('database is locked', 'SQLITE_BUSY');
		}
		if (isFirst) {
			isFirst = false;
			pages = PAGES;
		}
		if (progress) {
			const wanted = progress({ totalPages, remainingPages });
			if (wanted !== undefined) {
				if (typeof wanted !== 'number' || Number.isNaN(wanted)) {
					throw new TypeError('Expected progress callback to return a number or undefined');
				}
				pages = Math.max(0, Math.min(PAGES_MAX, Math.round(wanted)));
			}
		}
		await new Promise((resolve) => (isBlocked ? setTimeout(resolve, AGAIN_MS) : setImmediate(resolve)));
	}
}
