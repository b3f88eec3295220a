'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { pathToFileURL } = require('node:url');
const { sqlite, DatabaseSync, IS_OURS, freshPath, memory, letters, get, rejects, throws, throwsType, throwsRange, throwsState } = require('./node-sqlite-support');

const { backup } = sqlite;

// A database of some hundred pages.
function large() {
	return memory(`CREATE TABLE t(x); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) INSERT INTO t SELECT zeroblob(4000) FROM n`);
}
const count = (file) => get(new DatabaseSync(file), 'SELECT count(*) AS n FROM t').n;

describe('backup()', () => {
	it('copies a database to a file and fulfills with the number of pages', async () => {
		const file = freshPath();
		const db = large();
		const promise = backup(db, file);
		assert.equal(promise instanceof Promise, true);
		assert.equal(await promise, get(db, 'PRAGMA page_count').page_count);
		assert.equal(count(file), 200);
	});

	it('tells of each step but the last, some pages at a time', async () => {
		const db = large();
		const pages = get(db, 'PRAGMA page_count').page_count;
		const told = [];
		await backup(db, freshPath(), { rate: 50, progress: (...given) => { told.push(given); } });
		const expected = [];
		for (let left = pages - 50; left > 0; left -= 50) expected.push([{ totalPages: pages, remainingPages: left }]);
		assert.deepEqual(told, expected);
		told.length = 0;
		await backup(db, freshPath(), { rate: 10000, progress: () => told.push(1) });
		assert.deepEqual(told, []);
	});

	it('copies 100 pages at a time unless it is told otherwise', async () => {
		const db = large();
		const left = [];
		await backup(db, freshPath(), { progress: ({ remainingPages, totalPages }) => left.push(totalPages - remainingPages) });
		assert.deepEqual(left, [100, 200]);
	});

	it('lets the database be written to meanwhile', async () => {
		const file = freshPath();
		const db = large();
		let isFirst = true;
		await backup(db, file, {
			rate: 20,
			progress() {
				if (isFirst) db.exec('DELETE FROM t WHERE rowid > 100');
				isFirst = false;
			},
		});
		assert.equal(count(file), 100);
	});

	it('puts the copy in place of what the file had', async () => {
		const file = freshPath();
		new DatabaseSync(file).exec('CREATE TABLE other(x)');
		await backup(large(), file);
		assert.equal(count(file), 200);
		assert.equal(get(new DatabaseSync(file), "SELECT count(*) AS n FROM sqlite_schema WHERE name = 'other'").n, 0);
	});

	it('copies an attached database', async () => {
		const file = freshPath();
		const db = memory("ATTACH ':memory:' AS other; CREATE TABLE other.t(x); INSERT INTO other.t VALUES(1)");
		await backup(db, file, { source: 'other' });
		assert.equal(count(file), 1);
	});

	it('copies an empty one', async () => {
		assert.equal(await backup(memory(), freshPath()), 0);
	});

	it('takes paths as the constructor does', async () => {
		const [one, other] = [freshPath(), freshPath()];
		await backup(letters(), Buffer.from(one));
		await backup(letters(), pathToFileURL(other));
		assert.equal(fs.existsSync(one) && fs.existsSync(other), true);
		assert.equal((await backup(letters(), ':memory:')) > 0, true);
	});

	it('is done though the database is closed meanwhile', async () => {
		for (const progress of [undefined, (db) => { if (db.isOpen) db.close(); }]) {
			const file = freshPath();
			const db = large();
			const promise = backup(db, file, progress ? { rate: 10, progress: () => progress(db) } : { rate: 10 });
			if (!progress) db.close();
			assert.equal((await promise) > 100, true);
			assert.equal(count(file), 200);
		}
	});

	it('rejects with what progress throws', async () => {
		const failure = new Error('no');
		await assert.rejects(backup(large(), freshPath(), { rate: 10, progress() { throw failure; } }), (error) => error === failure);
	});

	it('rejects if the file cannot be opened or written, and if there is no such database', async () => {
		await rejects(backup(letters(), freshPath('/in/no/directory.db')), Error, 'ERR_SQLITE_ERROR', 'unable to open database file');
		await rejects(backup(letters(), freshPath(), { source: 'none' }), Error, 'ERR_SQLITE_ERROR', 'unknown database none');
		await rejects(backup(letters(), freshPath(), { target: 'none' }), Error, 'ERR_SQLITE_ERROR', 'unknown database none');
		const file = freshPath();
		const locked = new DatabaseSync(file);
		locked.exec('CREATE TABLE t(x); BEGIN EXCLUSIVE');
		await rejects(backup(letters(), file), Error, 'ERR_SQLITE_ERROR');
		locked.exec('COMMIT');
		assert.equal(get(locked, 'SELECT count(*) AS n FROM t').n, 0);
	});

	it('throws at once at what it is given', () => {
		const [db, file] = [letters(), freshPath()];
		for (const source of [undefined, null, 5]) throwsType(() => backup(source, file), 'The "sourceDb" argument must be an object.');
		for (const path of [undefined, null, 5, 'a\0b']) throwsType(() => backup(db, path), 'The "path" argument must be a string, Uint8Array, or URL without null bytes.');
		for (const options of [undefined, null, 5]) throwsType(() => backup(db, file, options), 'The "options" argument must be an object.');
		for (const name of ['source', 'target']) throwsType(() => backup(db, file, { [name]: 5 }), `The "options.${name}" argument must be a string.`);
		for (const rate of ['x', 1.5, null]) throwsType(() => backup(db, file, { rate }), 'The "options.rate" argument must be an integer.');
		for (const rate of [0, -1]) throwsRange(() => backup(db, file, { rate }), 'The "options.rate" argument must be a positive integer.');
		for (const progress of [5, null]) throwsType(() => backup(db, file, { progress }), 'The "options.progress" argument must be a function.');
		db.close();
		throwsState(() => backup(db, file), 'database is not open');
		// The original takes any object for a database, which ends the process.
		if (IS_OURS) throws(() => backup({}, file), TypeError, undefined);
	});
});
