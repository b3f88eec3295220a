'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { sqlite3, IS_ORIGINAL, answer, ask, errorOf, checkError, open, memory, close, freshPath, runProgram } = require('./sqlite3-support');

const FILLED = "CREATE TABLE t(a, b); INSERT INTO t SELECT value, zeroblob(4000) FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 50) SELECT value FROM n)";

async function rowsOf(file) {
	const db = await open(file);
	const { n } = await ask(db, 'get', 'SELECT count(*) AS n FROM t');
	await close(db);
	return n;
}

test('a backup is copied in one step', async () => {
	const db = await memory(FILLED);
	const file = freshPath();
	const backup = await new Promise((resolve) => {
		const made = db.backup(file, function (error) {
			assert.equal(error, null);
			assert.equal(this, made);
			resolve(made);
		});
		assert.ok(made instanceof sqlite3.Backup);
	});
	const { values, self } = await answer(backup, 'step', -1);
	assert.deepEqual(values, [null, true]);
	assert.equal(self, backup);
	assert.deepEqual([backup.completed, backup.failed, backup.remaining], [true, false, 0]);
	assert.ok(backup.pageCount > 50);
	assert.deepEqual((await answer(backup, 'finish')).values, []);
	await close(db);
	assert.equal(await rowsOf(file), 50);
});

test('a backup is copied a few pages at a time', async () => {
	const db = await memory(FILLED);
	const file = freshPath();
	const backup = db.backup(file);
	let left = Infinity;
	for (;;) {
		const isDone = await ask(backup, 'step', 10);
		assert.ok(backup.remaining < left);
		left = backup.remaining;
		assert.equal(isDone, backup.completed);
		assert.equal(backup.failed, false);
		if (isDone) break;
		assert.ok(backup.remaining > 0);
	}
	assert.equal(backup.remaining, 0);
	await new Promise((resolve) => backup.finish(resolve));
	await close(db);
	assert.equal(await rowsOf(file), 50);
});

test('the database can be used while it is copied', async () => {
	const db = await memory(FILLED);
	const file = freshPath();
	const backup = db.backup(file);
	await ask(backup, 'step', 5);
	await ask(db, 'run', "INSERT INTO t VALUES('late', NULL)");
	while (!(await ask(backup, 'step', 20)));
	await new Promise((resolve) => backup.finish(resolve));
	await close(db);
	assert.equal(await rowsOf(file), 51);
});

test('a backup tells whether it is idle', async () => {
	const db = await memory(FILLED);
	const backup = db.backup(freshPath());
	assert.equal(backup.idle, false);
	await ask(db, 'wait');
	assert.equal(backup.idle, true);
	const stepped = ask(backup, 'step', 1);
	assert.equal(backup.idle, false);
	await stepped;
	await ask(db, 'wait');
	assert.equal(backup.idle, true);
	await new Promise((resolve) => backup.finish(resolve));
	await close(db);
});

test('a backup that is finished before its end has failed', async () => {
	const db = await memory(FILLED);
	const backup = db.backup(freshPath());
	assert.equal(await ask(backup, 'step', 3), false);
	await new Promise((resolve) => backup.finish(resolve));
	assert.deepEqual([backup.completed, backup.failed], [false, true]);
	await close(db);
});

test('a finished backup refuses everything', async () => {
	const db = await memory(FILLED);
	const backup = db.backup(freshPath());
	await ask(backup, 'step', -1);
	await new Promise((resolve) => backup.finish(resolve));
	assert.equal(backup.completed, true);
	checkError(await errorOf(backup, 'step', 1), sqlite3.MISUSE, 'SQLITE_MISUSE', 'Backup is already finished');
	checkError(await errorOf(backup, 'finish'), sqlite3.MISUSE, 'SQLITE_MISUSE', 'Backup is already finished');
	await close(db);
});

test('a file can be copied into the database', async () => {
	const file = freshPath();
	const source = await open(file);
	await ask(source, 'exec', FILLED);
	await close(source);
	const db = await memory();
	const backup = db.backup(file, 'main', 'main', false);
	assert.deepEqual([backup.filename, backup.sourceName, backup.destName, backup.filenameIsDest], [file, 'main', 'main', false]);
	assert.equal(await ask(backup, 'step', -1), true);
	await new Promise((resolve) => backup.finish(resolve));
	assert.deepEqual(await ask(db, 'get', 'SELECT count(*) AS n FROM t'), { n: 50 });
	await close(db);
});

test('an attached database can be copied', async () => {
	const db = await memory("ATTACH ':memory:' AS other; CREATE TABLE other.t(a); INSERT INTO other.t VALUES(1), (2)");
	const file = freshPath();
	const backup = db.backup(file, 'other', 'main', true);
	assert.equal(await ask(backup, 'step', -1), true);
	await new Promise((resolve) => backup.finish(resolve));
	await close(db);
	assert.equal(await rowsOf(file), 2);
});

test('a file that cannot be opened is told to the callback', async () => {
	const db = await memory(FILLED);
	const error = await errorOf(db, 'backup', '/missing/directory/file.db');
	checkError(error, sqlite3.CANTOPEN, 'SQLITE_CANTOPEN', 'unable to open database file');
	await close(db);
});

test('a file that cannot be opened is emitted on the backup where there is no callback', async () => {
	const db = await memory(FILLED);
	const backup = db.backup('/missing/directory/file.db');
	const error = await new Promise((resolve) => backup.on('error', resolve));
	checkError(error, sqlite3.CANTOPEN, 'SQLITE_CANTOPEN', 'unable to open database file');
	assert.equal(backup.failed, true);
	await close(db);
});

test('a lock in the way is told and can be tried again', async () => {
	const file = freshPath();
	const holder = await open(file);
	await ask(holder, 'exec', 'CREATE TABLE held(a); BEGIN EXCLUSIVE');
	const db = await memory(FILLED);
	const backup = db.backup(file);
	assert.deepEqual(backup.retryErrors, [sqlite3.BUSY, sqlite3.LOCKED]);
	checkError(await errorOf(backup, 'step', -1), sqlite3.BUSY, 'SQLITE_BUSY', 'database is locked');
	assert.deepEqual([backup.completed, backup.failed], [false, false]);
	await ask(holder, 'exec', 'COMMIT');
	await close(holder);
	assert.equal(await ask(backup, 'step', -1), true);
	await new Promise((resolve) => backup.finish(resolve));
	await close(db);
	assert.equal(await rowsOf(file), 50);
});

test('an error that is not to be tried again ends the backup', async () => {
	const file = freshPath();
	const holder = await open(file);
	await ask(holder, 'exec', 'CREATE TABLE held(a); BEGIN EXCLUSIVE');
	const db = await memory(FILLED);
	const backup = db.backup(file);
	assert.throws(() => {
		backup.retryErrors = 7;
	}, { message: 'retryErrors must be an array' });
	backup.retryErrors = [sqlite3.LOCKED];
	checkError(await errorOf(backup, 'step', -1), sqlite3.BUSY, 'SQLITE_BUSY', 'database is locked');
	assert.deepEqual([backup.completed, backup.failed], [false, true]);
	await new Promise((resolve) => backup.finish(resolve));
	await close(db);
	await close(holder);
});

test('a database with an unfinished backup is not closed', async () => {
	const db = await memory(FILLED);
	const backup = db.backup(freshPath());
	await ask(backup, 'step', 1);
	checkError(await errorOf(db, 'close'), sqlite3.BUSY, 'SQLITE_BUSY', 'unable to close due to unfinalized statements or unfinished backups');
	await new Promise((resolve) => backup.finish(resolve));
	await close(db);
});

test('arguments of the wrong kind are refused', async () => {
	const db = await memory();
	const backup = db.backup(freshPath());
	assert.throws(() => backup.step(), { name: 'TypeError', message: 'Argument 0 must be an integer' });
	assert.throws(() => backup.step(1, 7), { name: 'TypeError', message: 'Argument 1 must be a function' });
	assert.throws(() => backup.finish(7), { name: 'TypeError', message: 'Argument 0 must be a function' });
	await new Promise((resolve) => backup.finish(resolve));
	await close(db);
	const { signal, stdout } = runProgram(`
		const db = new sqlite3.Database(':memory:');
		for (const given of [[], [db], [db, 'file'], [db, 'file', 'main'], [db, 'file', 'main', 'main'], [db, 'file', 'main', 'main', true, 7]]) {
			try {
				new sqlite3.Backup(...given);
			} catch ({ message }) {
				console.log(message);
			}
		}
	`);
	// The original's own words for it never arrive: it crashes.
	if (IS_ORIGINAL) assert.notEqual(signal, null);
	else {
		assert.deepEqual(stdout.split('\n'), [
			'Database object expected', 'Filename expected', 'Source database name expected', 'Destination database name expected',
			'Direction flag expected', 'Callback expected', '',
		]);
	}
});
