'use strict';
// `connect`, after libsql's documentation of its promises.
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { freshPath } = require('./support');
const { connect, SqliteError, IS_ORIGINAL } = require('./promises-connect-subject');

const FILLED = "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT UNIQUE, data BLOB); INSERT INTO t VALUES(1, 'one', x'01'), (2, 'two', NULL)";

async function memory(sql) {
	const db = await connect(':memory:');
	if (sql) await db.exec(sql);
	return db;
}

// Asks for what must be refused; for the error.
const failure = (promise) => promise.then(() => assert.fail('expected a rejection'), (error) => error);

async function fails(promise, code, message, rawCode) {
	const error = await failure(promise);
	assert.ok(error instanceof SqliteError, error.stack);
	assert.ok(error instanceof Error);
	assert.deepEqual([error.name, error.code, error.message, error.rawCode], ['SqliteError', code, message, rawCode]);
}

async function list(iterator) {
	const rows = [];
	for await (const row of iterator) rows.push(row);
	return rows;
}

test('connect resolves to a database, whose file is there', async () => {
	const file = freshPath();
	const db = await connect(file);
	assert.equal(db.memory, false);
	assert.equal(await db.exec('CREATE TABLE t(a); INSERT INTO t VALUES(7)'), undefined);
	const other = await connect(file);
	assert.deepEqual(await (await other.prepare('SELECT a FROM t')).get(), { a: 7 });
	await other.close();
	await db.close();
	assert.equal((await connect(':memory:')).memory, true);
});

test('connect rejects what cannot be opened, and what is no name', async () => {
	const error = await failure(connect('/missing/directory/file.db'));
	if (!IS_ORIGINAL) assert.deepEqual([error.code, error.message], ['SQLITE_CANTOPEN', 'unable to open database file']);
	await failure(connect());
});

test('exec does all statements, and rejects with what fails', async () => {
	const db = await memory(FILLED);
	await db.exec("INSERT INTO t(name) VALUES('three'); INSERT INTO t(name) VALUES('four')");
	assert.deepEqual(await db.get('SELECT count(*) AS n FROM t'), { n: 4 });
	await fails(db.exec('nonsense'), 'SQLITE_ERROR', 'near "nonsense": syntax error', 1);
	await fails(db.exec('INSERT INTO t(id) VALUES(1)'), 'SQLITE_CONSTRAINT_PRIMARYKEY', 'UNIQUE constraint failed: t.id', 1555);
	await failure(db.exec(5));
});

test('prepare resolves to a statement, and rejects what SQLite refuses', async () => {
	const db = await memory(FILLED);
	const statement = await db.prepare('SELECT * FROM t WHERE id = ?');
	assert.equal(statement.reader, true);
	assert.equal((await db.prepare('DELETE FROM t')).reader, false);
	await fails(db.prepare('SELECT * FROM missing'), 'SQLITE_ERROR', 'no such table: missing', 1);
	await failure(db.prepare(5));
});

test('run resolves to the number of changes and the last key', async () => {
	const db = await memory(FILLED);
	const insert = await db.prepare('INSERT INTO t(name) VALUES(?)');
	const asked = insert.run('three');
	assert.ok(asked instanceof Promise);
	const { changes, lastInsertRowid } = await asked;
	assert.deepEqual([changes, lastInsertRowid], [1, 3]);
	assert.equal((await (await db.prepare('UPDATE t SET data = NULL')).run()).changes, 3);
	assert.equal((await (await db.prepare('SELECT 1')).run()).changes, 0);
	await fails(insert.run('three'), 'SQLITE_CONSTRAINT_UNIQUE', 'UNIQUE constraint failed: t.name', 2067);
	assert.equal((await insert.run('four')).lastInsertRowid, 4);
});

test('get resolves to the first row or undefined, each time anew', async () => {
	const db = await memory(FILLED);
	const statement = await db.prepare('SELECT * FROM t WHERE id >= ? ORDER BY id');
	for (let i = 0; i < 2; i += 1) assert.deepEqual(await statement.get(1), { id: 1, name: 'one', data: Buffer.from([1]) });
	assert.equal(await statement.get(9), undefined);
	assert.equal(await (await db.prepare('INSERT INTO t(id) VALUES(5)')).get(), undefined);
	assert.deepEqual(await (await db.prepare('INSERT INTO t(id) VALUES(6) RETURNING id')).get(), { id: 6 });
	// It has let the table go.
	await db.exec('DROP TABLE t');
});

test('all resolves to all rows', async () => {
	const db = await memory(FILLED);
	const statement = await db.prepare('SELECT id, name FROM t WHERE id >= ? ORDER BY id');
	assert.deepEqual(await statement.all(1), [{ id: 1, name: 'one' }, { id: 2, name: 'two' }]);
	assert.deepEqual(await statement.all(9), []);
	await fails((await db.prepare("SELECT json('{') FROM t")).all(), 'SQLITE_ERROR', 'malformed JSON', 1);
});

test('iterate resolves to an asynchronous iterator of the rows', async () => {
	const db = await memory();
	const counting = await db.prepare('WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?) SELECT n FROM c');
	const rows = await list(await counting.iterate(1000));
	assert.deepEqual([rows.length, rows[0], rows[999]], [1000, { n: 1 }, { n: 1000 }]);
	assert.deepEqual(await list(await counting.iterate(1)), [{ n: 1 }]);
	assert.deepEqual(await list(await (await db.prepare('SELECT 1 WHERE 0')).iterate()), []);
	const some = [];
	for await (const { n } of await counting.iterate(1000)) {
		some.push(n);
		if (n === 3) break;
	}
	assert.deepEqual(some, [1, 2, 3]);
});

test('raw, pluck and safeIntegers say what rows are', async () => {
	const db = await memory(FILLED);
	const statement = await db.prepare('SELECT id, name FROM t ORDER BY id');
	assert.equal(statement.raw(), statement);
	assert.deepEqual(await statement.all(), [[1, 'one'], [2, 'two']]);
	assert.deepEqual(await statement.get(), [1, 'one']);
	assert.deepEqual(await list(await statement.iterate()), [[1, 'one'], [2, 'two']]);
	assert.equal(statement.raw(false).pluck(), statement);
	assert.deepEqual(await statement.all(), [1, 2]);
	assert.deepEqual(await list(await statement.iterate()), [1, 2]);
	assert.equal(statement.pluck(false).safeIntegers(true), statement);
	assert.deepEqual(await statement.get(), { id: 1n, name: 'one' });
	assert.deepEqual(await statement.safeIntegers(false).get(), { id: 1, name: 'one' });
	assert.equal(db.defaultSafeIntegers(true), db);
	assert.deepEqual(await (await db.prepare('SELECT 9007199254740993 AS n')).get(), { n: 9007199254740993n });
	db.defaultSafeIntegers(false);
	assert.deepEqual(await (await db.prepare('SELECT 9007199254740993 AS n')).get(), { n: 9007199254740992 });
});

test('columns describes what a statement returns', async () => {
	const db = await memory(FILLED);
	assert.deepEqual((await db.prepare('SELECT name AS called, 1 + 1 FROM t')).columns(), [
		{ name: 'called', column: 'name', table: 't', database: 'main', type: 'TEXT' },
		{ name: '1 + 1', column: null, table: null, database: null, type: null },
	]);
	assert.deepEqual((await db.prepare('DELETE FROM t')).columns(), []);
});

test('parameters are given one by one, as an array or by name', async () => {
	const db = await memory();
	const two = await db.prepare('SELECT ? AS a, ? AS b');
	for (const given of [[1, 'x'], [[1, 'x']]]) assert.deepEqual(await two.get(...given), { a: 1, b: 'x' });
	assert.deepEqual(await two.get(1, 2, 3), { a: 1, b: 2 });
	// What is not given is null; of a statement that ran before, the original keeps the value of that run.
	const few = IS_ORIGINAL ? () => db.prepare('SELECT ? AS a, ? AS b') : () => two;
	assert.deepEqual(await (await few()).get(1), { a: 1, b: null });
	assert.deepEqual(await (await few()).get(), { a: null, b: null });
	const named = await db.prepare('SELECT :a AS a, @b AS b, $c AS c');
	assert.deepEqual(await named.get({ a: 1, b: 'x', c: null }), { a: 1, b: 'x', c: null });
	const again = IS_ORIGINAL ? await db.prepare('SELECT :a AS a, @b AS b, $c AS c') : named;
	assert.deepEqual(await again.get({ a: 2, d: 1 }), { a: 2, b: null, c: null });
});

test('values are those of SQLite', async () => {
	const db = await memory();
	const statement = await db.prepare('SELECT ? AS value, typeof(?1) AS type');
	for (const [given, value, type] of [
		[1, 1, 'real'], [1.5, 1.5, 'real'], [5n, 5, 'integer'], ['x', 'x', 'text'], [true, 1, 'integer'], [null, null, 'null'],
		[undefined, null, 'null'], [Buffer.from([1, 2]), Buffer.from([1, 2]), 'blob'],
	]) assert.deepEqual(await statement.get([given]), { value, type }, String(given));
	assert.match((await failure(statement.get([{}]))).message, /can only bind numbers, strings, bigints, buffers, and null/);
});

test('run, get, all and iterate of a database prepare for once', async () => {
	const db = await memory(FILLED);
	assert.equal((await db.run('INSERT INTO t(name) VALUES(?)', 'three')).lastInsertRowid, 3);
	assert.deepEqual(await db.get('SELECT id FROM t WHERE name = ?', 'three'), { id: 3 });
	assert.deepEqual(await db.all('SELECT id FROM t WHERE id < :most', { most: 2 }), [{ id: 1 }]);
	assert.deepEqual(await list(await db.iterate('SELECT id FROM t WHERE id > ?', [2])), [{ id: 3 }]);
	await fails(db.get('SELECT missing'), 'SQLITE_ERROR', 'no such column: missing', 1);
});

test('pragma resolves to rows, or with simple to a value', async () => {
	const db = await memory();
	assert.deepEqual(await db.pragma('user_version = 5'), []);
	assert.deepEqual(await db.pragma('user_version'), [{ user_version: 5 }]);
	// The original boxes it.
	assert.equal(Number(await db.pragma('user_version', { simple: true })), 5);
	assert.deepEqual(await db.pragma('foreign_keys'), [{ foreign_keys: 1 }]);
	assert.equal((await failure(db.pragma(1))).message, 'Expected first argument to be a string');
});

test('transaction commits what a function does, and undoes what rejects', async () => {
	const db = await memory(FILLED);
	const add = db.transaction(async (...names) => {
		assert.equal(db.inTransaction, true);
		for (const name of names) await db.run('INSERT INTO t(name) VALUES(?)', name);
		return names.length;
	});
	assert.equal(add.database, db);
	for (const [index, mode] of [add, add.default, add.deferred, add.immediate, add.exclusive].entries()) {
		assert.equal(await mode(`a${index}`, `b${index}`), 2);
		assert.equal(db.inTransaction, false);
	}
	await fails(add('c', 'one'), 'SQLITE_CONSTRAINT_UNIQUE', 'UNIQUE constraint failed: t.name', 2067);
	assert.equal(db.inTransaction, false);
	assert.deepEqual(await db.get('SELECT count(*) AS n FROM t'), { n: 12 });
	assert.equal(await failure(db.transaction(() => { throw 'anything'; })()), 'anything');
	await fails(db.transaction(() => add('d'))(), 'SQLITE_ERROR', 'cannot start a transaction within a transaction', 1);
	assert.equal(db.inTransaction, false);
	assert.throws(() => db.transaction(1), { name: 'TypeError', message: 'Expected first argument to be a function' });
});

test('batch runs several statements, and resolves to what came of each', async () => {
	const db = await memory(FILLED);
	const results = await db.batch([
		"INSERT INTO t(name) VALUES('three'), ('four')",
		{ sql: 'SELECT id, name AS called, 1 + 1 AS two FROM t WHERE id > ?', args: [2] },
		{ sql: 'UPDATE t SET data = NULL WHERE name = :name', args: { name: 'one' } },
	]);
	assert.deepEqual(results, [
		{ columns: [], columnTypes: [], rows: [], rowsAffected: 2 },
		{
			columns: ['id', 'called', 'two'], columnTypes: ['INTEGER', 'TEXT', ''],
			rows: [{ id: 3, called: 'three', two: 2 }, { id: 4, called: 'four', two: 2 }], rowsAffected: 0,
		},
		{ columns: [], columnTypes: [], rows: [], rowsAffected: 1 },
	]);
	assert.deepEqual((await db.batch(['SELECT id FROM t ORDER BY id'], { raw: true }))[0].rows, [[1], [2], [3], [4]]);
	assert.deepEqual(await db.batch([], 'write'), []);
	assert.equal((await failure(db.batch('SELECT 1'))).message, 'Expected first argument to be an array of statements');
	await failure(db.batch(['SELECT 1'], 'nonsense'));
	assert.equal(db.inTransaction, false);
});

test('batch with a mode is one transaction, unless one is open', async () => {
	const db = await memory(FILLED);
	const count = async () => (await db.get('SELECT count(*) AS n FROM t')).n;
	const clash = ["INSERT INTO t(name) VALUES('three')", "INSERT INTO t(name) VALUES('one')"];
	for (const mode of ['write', 'read', 'deferred', 'immediate', 'exclusive', { mode: 'write' }]) {
		await fails(db.batch(clash, mode), 'SQLITE_CONSTRAINT_UNIQUE', 'UNIQUE constraint failed: t.name', 2067);
		assert.deepEqual([db.inTransaction, await count()], [false, 2]);
	}
	await fails(db.batch(clash), 'SQLITE_CONSTRAINT_UNIQUE', 'UNIQUE constraint failed: t.name', 2067);
	assert.equal(await count(), 3);
	await db.exec('BEGIN');
	await fails(db.batch(["INSERT INTO t(name) VALUES('four')", 'nonsense'], 'write'), 'SQLITE_ERROR', 'near "nonsense": syntax error', 1);
	assert.deepEqual([db.inTransaction, await count()], [true, 4]);
	await db.exec('ROLLBACK');
	assert.equal(await count(), 3);
});

test('a lock is waited for as long as timeout says', async () => {
	const file = freshPath();
	const [one, other] = [await connect(file), await connect(file, { timeout: 1000 })];
	// In WAL mode who waits holds no lock that the COMMIT would wait for in vain.
	await one.exec('PRAGMA journal_mode = WAL; CREATE TABLE t(a); BEGIN IMMEDIATE');
	const waiting = other.exec('INSERT INTO t VALUES(1)');
	await one.exec('COMMIT');
	await waiting;
	await one.exec('BEGIN IMMEDIATE');
	const hasty = await connect(file);
	await fails(hasty.exec('INSERT INTO t VALUES(1)'), 'SQLITE_BUSY', 'database is locked', 5);
	for (const db of [one, other, hasty]) await db.close();
});

test('interrupt ends what runs, while the program goes on', async () => {
	const db = await memory();
	const endless = db.all('WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c');
	const interrupting = setInterval(() => db.interrupt(), 5);
	await fails(endless, 'SQLITE_INTERRUPT', 'interrupted', 9);
	clearInterval(interrupting);
});

test('a closed database refuses everything', async () => {
	const db = await memory(FILLED);
	await db.close();
	await db.close();
	// One after the other: a promise that is rejected before anybody waits for it counts as handled by nobody.
	for (const ask of [() => db.exec('SELECT 1'), () => db.prepare('SELECT 1'), () => db.get('SELECT 1')]) {
		assert.equal((await failure(ask())).message, 'The database connection is not open');
	}
	assert.equal(db.inTransaction, false);
});
