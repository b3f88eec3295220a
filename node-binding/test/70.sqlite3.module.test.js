'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { sqlite3, ask, open, close, freshPath, runProgram, checkError, errorOf } = require('./sqlite3-support');

test('the module exports classes, functions and numbers, 55 in all', () => {
	assert.equal(Object.keys(sqlite3).length, 55);
	for (const name of ['Database', 'Statement', 'Backup', 'verbose']) assert.equal(typeof sqlite3[name], 'function');
	assert.equal(typeof sqlite3.cached.Database, 'function');
	assert.equal(typeof sqlite3.path, 'string');
});

test('the flags of opening are those of SQLite', () => {
	assert.deepEqual(
		['READONLY', 'READWRITE', 'CREATE', 'FULLMUTEX', 'URI', 'SHAREDCACHE', 'PRIVATECACHE'].map((name) => sqlite3[`OPEN_${name}`]),
		[1, 2, 4, 0x10000, 0x40, 0x20000, 0x40000],
	);
});

test('the result codes are those of SQLite', () => {
	const names = [
		'OK', 'ERROR', 'INTERNAL', 'PERM', 'ABORT', 'BUSY', 'LOCKED', 'NOMEM', 'READONLY', 'INTERRUPT', 'IOERR', 'CORRUPT', 'NOTFOUND',
		'FULL', 'CANTOPEN', 'PROTOCOL', 'EMPTY', 'SCHEMA', 'TOOBIG', 'CONSTRAINT', 'MISMATCH', 'MISUSE', 'NOLFS', 'AUTH', 'FORMAT',
		'RANGE', 'NOTADB',
	];
	assert.deepEqual(names.map((name) => sqlite3[name]), names.map((name, index) => index));
});

test('the limits are those of SQLite', () => {
	const names = [
		'LENGTH', 'SQL_LENGTH', 'COLUMN', 'EXPR_DEPTH', 'COMPOUND_SELECT', 'VDBE_OP', 'FUNCTION_ARG', 'ATTACHED', 'LIKE_PATTERN_LENGTH',
		'VARIABLE_NUMBER', 'TRIGGER_DEPTH', 'WORKER_THREADS',
	];
	assert.deepEqual(names.map((name) => sqlite3[`LIMIT_${name}`]), names.map((name, index) => index));
});

test('the version is that of the SQLite that runs', async () => {
	const db = await open();
	const row = await ask(db, 'get', 'SELECT sqlite_version() AS version, sqlite_source_id() AS source');
	assert.equal(sqlite3.VERSION, row.version);
	assert.equal(sqlite3.SOURCE_ID, row.source);
	const [major, minor, patch] = sqlite3.VERSION.split('.').map(Number);
	assert.equal(sqlite3.VERSION_NUMBER, major * 1000000 + minor * 1000 + patch);
	await close(db);
});

test('the numbers cannot be written over', () => {
	assert.throws(() => {
		sqlite3.OPEN_READONLY = 7;
	}, TypeError);
	assert.equal(sqlite3.OPEN_READONLY, 1);
});

test('classes are made with new only', () => {
	for (const name of ['Database', 'Statement', 'Backup']) assert.throws(() => sqlite3[name](':memory:'), TypeError);
});

test('databases, statements and backups are emitters', async () => {
	const db = await open();
	const statement = db.prepare('SELECT 1');
	const backup = db.backup(freshPath());
	for (const object of [db, statement, backup]) {
		let heard;
		object.on('something', (value) => {
			heard = value;
		});
		assert.equal(object.emit('something', 7), true);
		assert.equal(heard, 7);
		assert.equal(object.listenerCount('something'), 1);
		object.removeAllListeners('something');
		assert.equal(object.emit('something', 8), false);
	}
	statement.finalize();
	await new Promise((resolve) => backup.finish(resolve));
	await close(db);
});

test('cached databases of one file are one database', async () => {
	const file = freshPath();
	const first = await new Promise((resolve) => {
		const db = sqlite3.cached.Database(file, function (error) {
			assert.equal(error, null);
			assert.equal(this, db);
			resolve(db);
		});
	});
	assert.equal(sqlite3.cached.Database(file), first);
	await new Promise((resolve) => {
		sqlite3.cached.Database(file, sqlite3.OPEN_READWRITE, function (error) {
			assert.equal(error, null);
			assert.equal(this, first);
			resolve();
		});
	});
	const other = sqlite3.cached.Database(freshPath());
	assert.notEqual(other, first);
	assert.equal(sqlite3.cached.objects[file], first);
	await close(first);
	await close(other);
});

test('databases in memory are not cached', async () => {
	const [one, other] = [sqlite3.cached.Database(':memory:'), sqlite3.cached.Database(':memory:')];
	assert.notEqual(one, other);
	await close(one);
	await close(other);
});

test('who asks for a cached database while it opens is told when it is open', async () => {
	const file = freshPath();
	const db = sqlite3.cached.Database(file);
	assert.equal(db.open, false);
	await new Promise((resolve) => {
		assert.equal(sqlite3.cached.Database(file, resolve), db);
	});
	assert.equal(db.open, true);
	await close(db);
});

test('errors have the code of SQLite as a number and as a name', async () => {
	const db = await open();
	const error = await errorOf(db, 'run', 'SELECT * FROM missing');
	checkError(error, sqlite3.ERROR, 'SQLITE_ERROR', 'no such table: missing');
	assert.deepEqual(Object.keys(error), ['errno', 'code']);
	await close(db);
});

test('extended result codes are told as the codes that they extend', async () => {
	const db = await open();
	await ask(db, 'exec', 'CREATE TABLE t(a UNIQUE NOT NULL); INSERT INTO t VALUES(1)');
	checkError(await errorOf(db, 'run', 'INSERT INTO t VALUES(1)'), 19, 'SQLITE_CONSTRAINT', 'UNIQUE constraint failed: t.a');
	checkError(await errorOf(db, 'run', 'INSERT INTO t VALUES(NULL)'), 19, 'SQLITE_CONSTRAINT', 'NOT NULL constraint failed: t.a');
	await close(db);
});

test('verbose has errors say which call their callback was given to', () => {
	const { stdout, stderr } = runProgram(`
		const same = sqlite3.verbose();
		console.log(same === sqlite3, same.verbose() === sqlite3);
		const db = new sqlite3.Database(':memory:');
		function here() {
			db.run('SELECT * FROM missing', [1, 'two'], (error) => console.log(error.stack));
		}
		here();
		const statement = db.prepare('SELECT ?');
		function there() {
			statement.all(1, 2, (error) => console.log(error.stack));
		}
		there();
	`);
	assert.equal(stderr, '');
	assert.match(stdout, /^true true\n/);
	assert.match(stdout, /SQLITE_ERROR: no such table: missing\n--> in Database#run\('SELECT \* FROM missing', \[.*\], \[Function.*\]\)\n.*at here/);
	assert.match(stdout, /SQLITE_RANGE: column index out of range\n--> in Statement#all\(1, 2, \[Function.*\]\)\n.*at there/);
});

test('without verbose they do not', () => {
	const { stdout } = runProgram(`
		const db = new sqlite3.Database(':memory:');
		db.run('SELECT * FROM missing', (error) => console.log(error.stack));
	`);
	assert.equal(stdout, 'Error: SQLITE_ERROR: no such table: missing\n');
});
