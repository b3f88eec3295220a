'use strict';
// db.backup(): copies the database to a file while it stays in use, some pages per turn of the event loop.

const fs = require('fs');
const path = require('path');
const { numbers } = require('../addon');
const { innerOf } = require('../inner');
const { checkString, checkOptions, attachedName } = require('../check');

const PAGES = 100;
const PAGES_MAX = 0x7fffffff;

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
	for (;;) {
		addon.backupStep(running, pages);
		const [totalPages, remainingPages, isDone] = numbers;
		if (isDone) return { totalPages, remainingPages };
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
		await new Promise(setImmediate);
	}
}
