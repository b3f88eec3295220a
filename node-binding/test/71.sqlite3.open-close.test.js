'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { test } = require('node:test');
const { sqlite3, answer, ask, errorOf, checkError, open, memory, close, once, freshPath, runProgram } = require('./sqlite3-support');

test('opening calls back without an error, as a method of the database', async () => {
	await new Promise((resolve) => {
		const db = new sqlite3.Database(freshPath(), function (...values) {
			assert.deepEqual(values, [null]);
			assert.equal(this, db);
			assert.equal(db.open, true);
			db.close(resolve);
		});
		assert.equal(db.open, false);
	});
});

test('opening emits open after the callback', async () => {
	const heard = [];
	const db = new sqlite3.Database(':memory:', () => heard.push('callback'));
	db.on('open', () => heard.push('event'));
	await once(db, 'open');
	assert.deepEqual(heard, ['callback', 'event']);
	await close(db);
});

test('a database knows its name and how it was opened, for good', async () => {
	const file = freshPath();
	const db = await open(file);
	assert.equal(db.filename, file);
	assert.equal(db.mode, sqlite3.OPEN_READWRITE | sqlite3.OPEN_CREATE | sqlite3.OPEN_FULLMUTEX);
	assert.throws(() => {
		db.filename = 'other';
	}, TypeError);
	assert.deepEqual(Object.keys(db).filter((key) => !key.startsWith('_')), []);
	await close(db);
	const other = await open(file, sqlite3.OPEN_READONLY);
	assert.equal(other.mode, sqlite3.OPEN_READONLY);
	await close(other);
});

test('a file that cannot be opened is told to the callback', async () => {
	await new Promise((resolve) => {
		const db = new sqlite3.Database('/missing/directory/file.db', function (error) {
			checkError(error, sqlite3.CANTOPEN, 'SQLITE_CANTOPEN', 'unable to open database file');
			assert.equal(this, db);
			assert.equal(db.open, false);
			resolve();
		});
	});
});

test('a file that cannot be opened is emitted as an error where there is no callback', async () => {
	const db = new sqlite3.Database('/missing/directory/file.db');
	const [error] = await once(db, 'error').catch((reason) => [reason]);
	checkError(error, sqlite3.CANTOPEN, 'SQLITE_CANTOPEN', 'unable to open database file');
});

test('a file that must exist is not created', async () => {
	const file = freshPath();
	const opening = open(file, sqlite3.OPEN_READWRITE);
	checkError(await opening.catch((error) => error), sqlite3.CANTOPEN, 'SQLITE_CANTOPEN', 'unable to open database file');
	assert.equal(fs.existsSync(file), false);
});

test('a database that is only read cannot be written', async () => {
	const file = freshPath();
	const writer = await open(file);
	await ask(writer, 'exec', 'CREATE TABLE t(a); INSERT INTO t VALUES(1)');
	await close(writer);
	const reader = await open(file, sqlite3.OPEN_READONLY);
	assert.deepEqual(await ask(reader, 'all', 'SELECT * FROM t'), [{ a: 1 }]);
	const error = await errorOf(reader, 'run', 'INSERT INTO t VALUES(2)');
	checkError(error, sqlite3.READONLY, 'SQLITE_READONLY', 'attempt to write a readonly database');
	await close(reader);
});

test('an address is one only if that is asked for', async () => {
	const file = freshPath();
	const db = await open(`file:${file}?mode=rwc`, sqlite3.OPEN_READWRITE | sqlite3.OPEN_CREATE | sqlite3.OPEN_URI);
	await ask(db, 'exec', 'CREATE TABLE t(a)');
	await close(db);
	assert.equal(fs.existsSync(file), true);
	const shared = 'file:shared?mode=memory&cache=shared';
	const flags = sqlite3.OPEN_READWRITE | sqlite3.OPEN_CREATE | sqlite3.OPEN_URI;
	const [one, other] = [await open(shared, flags), await open(shared, flags)];
	await ask(one, 'exec', 'CREATE TABLE s(a); INSERT INTO s VALUES(3)');
	assert.deepEqual(await ask(other, 'get', 'SELECT a FROM s'), { a: 3 });
	await close(one);
	await close(other);
});

test('a file that is no database is found out by the first statement', async () => {
	const file = freshPath();
	fs.writeFileSync(file, 'this is not a database, and long enough to be seen as one by anybody who reads it'.repeat(20));
	const db = await open(file);
	checkError(await errorOf(db, 'get', 'SELECT * FROM sqlite_master'), sqlite3.NOTADB, 'SQLITE_NOTADB', 'file is not a database');
	await close(db);
});

test('a name that is no string is refused', () => {
	for (const name of [undefined, null, 7, {}]) assert.throws(() => new sqlite3.Database(name), { name: 'TypeError', message: 'String expected' });
	assert.throws(() => new sqlite3.Database(), { name: 'TypeError', message: 'String expected' });
});

test('a class can be derived from the database', async () => {
	class Derived extends sqlite3.Database {
		count(table, callback) {
			return this.get(`SELECT count(*) AS n FROM ${table}`, callback);
		}
	}
	const db = new Derived(':memory:');
	assert.ok(db instanceof sqlite3.Database);
	assert.deepEqual(await ask(db, 'count', 'sqlite_master'), { n: 0 });
	await close(db);
});

test('what is asked before the database is open waits for it', async () => {
	const db = new sqlite3.Database(':memory:');
	const heard = [];
	db.on('open', () => heard.push('open'));
	db.exec('CREATE TABLE t(a)', () => heard.push('exec'));
	await close(db);
	assert.deepEqual(heard, ['open', 'exec']);
});

test('buffers, arrays and dates are read when they are given, not when their turn comes', async () => {
	const db = new sqlite3.Database(':memory:');
	const [buffer, array, date] = [Buffer.from([1, 2]), ['before'], new Date(5)];
	const rows = Promise.all([
		ask(db, 'get', 'SELECT hex(?) AS value', buffer),
		ask(db, 'get', 'SELECT ? AS value', array),
		ask(db, 'get', 'SELECT ? AS value', date),
	]);
	buffer[0] = 9;
	array[0] = 'after';
	date.setTime(6);
	assert.deepEqual((await rows).map(({ value }) => value), ['0102', 'before', 5]);
	await close(db);
});

test('closing calls back and emits close after it', async () => {
	const db = await open();
	const heard = [];
	db.on('close', () => heard.push('event'));
	const closed = once(db, 'close');
	const { values, self } = await answer(db, 'close');
	assert.deepEqual(values, [null]);
	assert.equal(self, db);
	heard.push('callback');
	await closed;
	assert.equal(db.open, false);
	assert.ok(heard.includes('event'));
});

test('closing waits for what was asked before', async () => {
	const db = await memory('CREATE TABLE t(a)');
	const heard = [];
	for (let i = 0; i < 20; i += 1) db.run('INSERT INTO t VALUES(?)', i, () => heard.push(i));
	await close(db);
	assert.equal(heard.length, 20);
});

test('closing fails while a statement is not finalized, and then works', async () => {
	const db = await memory();
	const statement = db.prepare('SELECT 1');
	await ask(statement, 'get');
	const error = await errorOf(db, 'close');
	checkError(error, sqlite3.BUSY, 'SQLITE_BUSY', 'unable to close due to unfinalized statements or unfinished backups');
	assert.equal(db.open, true);
	statement.finalize();
	await close(db);
});

test('a close that fails without a callback is emitted as an error', async () => {
	const db = await memory();
	const statement = db.prepare('SELECT 1');
	await ask(statement, 'get');
	const emitted = new Promise((resolve) => db.once('error', resolve));
	db.close();
	assert.equal((await emitted).errno, sqlite3.BUSY);
	statement.finalize();
	await close(db);
});

test('a closed database refuses everything', async () => {
	const db = await memory();
	await close(db);
	for (const [method, ...given] of [['run', 'SELECT 1'], ['get', 'SELECT 1'], ['all', 'SELECT 1'], ['exec', 'SELECT 1'], ['close'], ['wait'], ['prepare', 'SELECT 1']]) {
		checkError(await errorOf(db, method, ...given), sqlite3.MISUSE, 'SQLITE_MISUSE', 'Database is closed');
	}
	assert.throws(() => db.interrupt(), { message: 'Database is not open' });
});

test('a closed database emits its refusal where there is no callback', async () => {
	const db = await memory();
	await close(db);
	let heard;
	db.on('error', (error) => {
		heard = error;
	});
	db.exec('SELECT 1');
	checkError(heard, sqlite3.MISUSE, 'SQLITE_MISUSE', 'Database is closed');
});

test('what waits behind a close is refused', async () => {
	const db = await memory();
	db.close();
	const error = await errorOf(db, 'exec', 'SELECT 1');
	checkError(error, sqlite3.MISUSE, 'SQLITE_MISUSE', 'Database handle is closed');
});

test('a database can be closed in the callback of its opening', async () => {
	await new Promise((resolve) => {
		const db = new sqlite3.Database(':memory:', () => db.close(resolve));
	});
});

test('an error that nobody hears ends the program', () => {
	const { status, stderr } = runProgram("new sqlite3.Database('/missing/directory/file.db');");
	assert.notEqual(status, 0);
	assert.match(stderr, /SQLITE_CANTOPEN: unable to open database file/);
});

test('foreign keys are not enforced unless that is asked for', async () => {
	const db = await memory('CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p(id)); INSERT INTO c VALUES(1)');
	assert.deepEqual(await ask(db, 'get', 'PRAGMA foreign_keys'), { foreign_keys: 0 });
	await ask(db, 'run', 'PRAGMA foreign_keys = ON');
	checkError(await errorOf(db, 'run', 'INSERT INTO c VALUES(2)'), 19, 'SQLITE_CONSTRAINT', 'FOREIGN KEY constraint failed');
	await close(db);
});

test('commits wait for the disk in WAL mode too, unless the program says otherwise', async () => {
	const db = await open(freshPath());
	await ask(db, 'get', 'PRAGMA journal_mode = WAL');
	assert.deepEqual(await ask(db, 'get', 'PRAGMA synchronous'), { synchronous: 2 });
	await close(db);
});
