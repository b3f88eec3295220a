'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { open, Database, Statement } = require('./promises-subject');
const ours = require('../lib/promises');
const { sqlite3, checkError, freshPath } = require('./sqlite3-support');

const driver = sqlite3.Database;
const FILLED = "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES(1, 'one'), (2, 'two'), (3, 'three')";

async function memory(sql) {
	const db = await open({ filename: ':memory:', driver });
	if (sql) await db.exec(sql);
	return db;
}

const failure = (promise) => promise.then(() => assert.fail('expected a rejection'), (error) => error);

test('open resolves with a database that has the driver\'s', async () => {
	const file = freshPath();
	const db = await open({ filename: file, driver });
	assert.ok(db instanceof Database);
	assert.ok(db.getDatabaseInstance() instanceof driver);
	assert.equal(db.db, db.getDatabaseInstance());
	assert.equal(db.config.filename, file);
	assert.equal(await db.exec('CREATE TABLE t(a)'), undefined);
	assert.equal(await db.close(), undefined);
	const reader = await open({ filename: file, mode: sqlite3.OPEN_READONLY, driver });
	checkError(await failure(reader.run('INSERT INTO t VALUES(1)')), 8, 'SQLITE_READONLY', 'attempt to write a readonly database');
	await reader.close();
});

test('open rejects what cannot be opened', async () => {
	const error = await failure(open({ filename: '/missing/directory/file.db', driver }));
	checkError(error, 14, 'SQLITE_CANTOPEN', 'unable to open database file');
	for (const filename of [null, undefined]) {
		assert.equal((await failure(open({ filename, driver }))).message, 'sqlite: filename cannot be null / undefined');
	}
});

test('ours needs no driver', async () => {
	const db = await ours.open({ filename: ':memory:' });
	assert.deepEqual(await db.get('SELECT 1 AS one'), { one: 1 });
	await db.close();
});

test('run resolves with the last key and the number of changes', async () => {
	const db = await memory(FILLED);
	const { lastID, changes, stmt } = await db.run('INSERT INTO t(name) VALUES(?), (?)', 'four', 'five');
	assert.deepEqual({ lastID, changes }, { lastID: 5, changes: 2 });
	assert.ok(stmt instanceof Statement);
	assert.equal((await db.run('DELETE FROM t WHERE id > ?', [3])).changes, 2);
	assert.equal((await db.run('DELETE FROM t WHERE id = $id', { $id: 3 })).changes, 1);
	checkError(await failure(db.run('INSERT INTO t(id) VALUES(1)')), 19, 'SQLITE_CONSTRAINT', 'UNIQUE constraint failed: t.id');
	checkError(await failure(db.run('DELETE FROM missing')), 1, 'SQLITE_ERROR', 'no such table: missing');
	await db.close();
});

test('get and all resolve with rows', async () => {
	const db = await memory(FILLED);
	assert.deepEqual(await db.get('SELECT * FROM t WHERE id = ?', 2), { id: 2, name: 'two' });
	assert.equal(await db.get('SELECT * FROM t WHERE id = ?', 9), undefined);
	assert.deepEqual(await db.all('SELECT id FROM t WHERE id > ? ORDER BY id', [1]), [{ id: 2 }, { id: 3 }]);
	assert.deepEqual(await db.all('SELECT id FROM t WHERE id > 9'), []);
	checkError(await failure(db.get('SELECT missing')), 1, 'SQLITE_ERROR', 'no such column: missing');
	checkError(await failure(db.all('SELECT missing')), 1, 'SQLITE_ERROR', 'no such column: missing');
	await db.close();
});

test('a text may come with its values', async () => {
	const db = await memory(FILLED);
	assert.deepEqual(await db.get({ sql: 'SELECT name FROM t WHERE id = ?', values: [2] }), { name: 'two' });
	assert.equal((await db.run({ sql: 'DELETE FROM t WHERE id = ?', values: [2] })).changes, 1);
	const statement = await db.prepare({ sql: 'SELECT name FROM t WHERE id = ?', values: [1] });
	assert.deepEqual(await statement.get(), { name: 'one' });
	await statement.finalize();
	await db.close();
});

test('each calls back for every row and resolves with their number', async () => {
	const db = await memory(FILLED);
	const names = [];
	assert.equal(await db.each('SELECT name FROM t WHERE id > ? ORDER BY id', [1], (error, row) => names.push([error, row.name])), 2);
	assert.deepEqual(names, [[null, 'two'], [null, 'three']]);
	checkError(await failure(db.each('SELECT missing', () => {})), 1, 'SQLITE_ERROR', 'no such column: missing');
	assert.match((await failure(db.each('SELECT 1'))).message, /must be a callback function/);
	assert.match((await failure(db.each('SELECT 1', () => {}, () => {}))).message, /should only have a single callback/);
	await db.close();
});

test('prepare resolves with a statement', async () => {
	const db = await memory(FILLED);
	const statement = await db.prepare('SELECT name FROM t WHERE id = ?');
	assert.ok(statement instanceof Statement);
	assert.ok(statement.getStatementInstance() instanceof sqlite3.Statement);
	assert.equal(statement.stmt, statement.getStatementInstance());
	assert.equal(await statement.bind(1), undefined);
	assert.deepEqual(await statement.get(), { name: 'one' });
	assert.deepEqual(await statement.get(2), { name: 'two' });
	assert.deepEqual(await statement.all(3), [{ name: 'three' }]);
	assert.equal(await statement.reset(), undefined);
	const names = [];
	assert.equal(await statement.each(2, (error, row) => names.push(row.name)), 1);
	assert.deepEqual(names, ['two']);
	assert.equal(await statement.finalize(), undefined);
	const insert = await db.prepare('INSERT INTO t(name) VALUES(?)');
	const { lastID, changes, stmt } = await insert.run('four');
	assert.deepEqual({ lastID, changes }, { lastID: 4, changes: 1 });
	assert.equal(stmt.getStatementInstance(), insert.getStatementInstance());
	await insert.finalize();
	checkError(await failure(db.prepare('SELECT missing')), 1, 'SQLITE_ERROR', 'no such column: missing');
	await db.close();
});

test('the rest is the driver\'s', async () => {
	const db = await memory();
	db.configure('busyTimeout', 777);
	assert.deepEqual(await db.get('PRAGMA busy_timeout'), { timeout: 777 });
	const heard = new Promise((resolve) => db.on('trace', resolve));
	await db.get('SELECT 1');
	assert.equal(await heard, 'SELECT 1');
	checkError(await failure(db.loadExtension('/missing/extension')), 1, 'SQLITE_ERROR', /missing\/extension/);
	assert.throws(() => db.serialize(), /getDatabaseInstance\(\)\.serialize\(\)/);
	assert.throws(() => db.parallelize(), /getDatabaseInstance\(\)\.parallelize\(\)/);
	await db.close();
});

function directory(files) {
	const place = freshPath('');
	fs.mkdirSync(place);
	for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(place, name), text);
	return place;
}

const FIRST = '-- Up\nCREATE TABLE t(a);\n-- a comment\nINSERT INTO t VALUES(1);\n-- Down\nDROP TABLE t;\n';
const SECOND = '-- Up\nALTER TABLE t ADD COLUMN b;\n-- Down\nALTER TABLE t DROP COLUMN b;\n';
const columns = async (db) => (await db.all("SELECT name FROM pragma_table_info('t')")).map(({ name }) => name);
const done = (db, table = 'migrations') => db.all(`SELECT id, name FROM ${table} ORDER BY id`);

test('migrations are done once, in the order of their numbers', async () => {
	const migrationsPath = directory({ '002-second.sql': SECOND, '001-first.sql': FIRST, 'readme.txt': 'not one' });
	const db = await memory();
	assert.equal(await db.migrate({ migrationsPath }), undefined);
	assert.deepEqual(await columns(db), ['a', 'b']);
	assert.deepEqual(await done(db), [{ id: 1, name: 'first' }, { id: 2, name: 'second' }]);
	await db.migrate({ migrationsPath });
	assert.deepEqual(await db.all('SELECT a FROM t'), [{ a: 1 }]);
	await db.close();
});

test('a migration that is gone is taken back', async () => {
	const migrationsPath = directory({ '001-first.sql': FIRST, '002-second.sql': SECOND });
	const db = await memory();
	await db.migrate({ migrationsPath });
	fs.rmSync(path.join(migrationsPath, '002-second.sql'));
	await db.migrate({ migrationsPath });
	assert.deepEqual(await columns(db), ['a']);
	assert.deepEqual(await done(db), [{ id: 1, name: 'first' }]);
	await db.close();
});

test('with force the latest is taken back and done again', async () => {
	const migrationsPath = directory({ '001-first.sql': FIRST, '002-second.sql': SECOND });
	const db = await memory();
	await db.migrate({ migrationsPath });
	await db.run('UPDATE t SET b = 7');
	await db.migrate({ migrationsPath, force: true });
	assert.deepEqual(await db.all('SELECT * FROM t'), [{ a: 1, b: null }]);
	await db.close();
});

test('migrations may be given, and their table named', async () => {
	const db = await memory();
	const migrations = [{ id: 1, name: 'one', up: 'CREATE TABLE t(a)', down: 'DROP TABLE t' }];
	await db.migrate({ migrations, table: 'steps' });
	assert.deepEqual(await done(db, 'steps'), [{ id: 1, name: 'one' }]);
	assert.deepEqual(await columns(db), ['a']);
	await db.close();
});

test('a migration that fails leaves nothing behind', async () => {
	const db = await memory();
	const migrations = [
		{ id: 1, name: 'one', up: 'CREATE TABLE t(a)', down: '' },
		{ id: 2, name: 'two', up: 'CREATE TABLE u(a); INSERT INTO missing VALUES(1)', down: '' },
	];
	checkError(await failure(db.migrate({ migrations })), 1, 'SQLITE_ERROR', 'no such table: missing');
	assert.deepEqual(await done(db), [{ id: 1, name: 'one' }]);
	assert.equal(await db.get("SELECT 1 FROM sqlite_master WHERE name = 'u'"), undefined);
	await db.close();
});

test('a directory without migrations is told of', async () => {
	const migrationsPath = directory({});
	const db = await memory();
	assert.equal((await failure(db.migrate({ migrationsPath }))).message, `No migration files found in '${migrationsPath}'.`);
	await db.close();
});
