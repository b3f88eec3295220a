'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { sqlite3, IS_ORIGINAL, ask, run, errorOf, checkError, memory, close } = require('./sqlite3-support');

// Lets the event loop turn: the original's events come by a way of their own, after the callback.
async function delivered() {
	for (let i = 0; i < 10; i += 1) await new Promise((resolve) => setImmediate(resolve));
}

// What a database emits, from now on.
function record(db, type) {
	const heard = [];
	db.on(type, (...values) => heard.push(values));
	return heard;
}

test('trace tells of each statement with its parameters filled in', async () => {
	const db = await memory('CREATE TABLE t(a, b)');
	const heard = record(db, 'trace');
	await run(db, 'INSERT INTO t VALUES(?, ?)', 1, "it's");
	await ask(db, 'exec', 'SELECT 1; SELECT 2');
	await delivered();
	assert.deepEqual(heard, [["INSERT INTO t VALUES(1, 'it''s')"], ['SELECT 1;'], ['SELECT 2']]);
	await close(db);
});

test('trace tells of triggers by a comment', async () => {
	const db = await memory('CREATE TABLE t(a); CREATE TABLE log(a); CREATE TRIGGER noted AFTER INSERT ON t BEGIN INSERT INTO log VALUES(new.a); END');
	const heard = record(db, 'trace');
	await run(db, 'INSERT INTO t VALUES(1)');
	await delivered();
	assert.equal(heard[0][0], 'INSERT INTO t VALUES(1)');
	assert.ok(heard.slice(1).length > 0);
	for (const [text] of heard.slice(1)) assert.match(text, /^-- /);
	await close(db);
});

test('profile tells of each statement as it was prepared, and how long it took', async () => {
	const db = await memory('CREATE TABLE t(a)');
	const heard = record(db, 'profile');
	await run(db, 'INSERT INTO t VALUES(?)', 1);
	await ask(db, 'all', 'SELECT * FROM t');
	await delivered();
	assert.deepEqual(heard.map(([sql]) => sql), ['INSERT INTO t VALUES(?)', 'SELECT * FROM t']);
	for (const [, milliseconds] of heard) {
		assert.equal(typeof milliseconds, 'number');
		assert.ok(milliseconds >= 0 && milliseconds < 60000);
	}
	await close(db);
});

test('change tells of each row that is changed', async () => {
	const db = await memory('CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TEMP TABLE local(a)');
	const heard = record(db, 'change');
	await run(db, 'INSERT INTO t VALUES(7, 1), (8, 2)');
	await run(db, 'UPDATE t SET a = 3 WHERE id = 7');
	await run(db, 'DELETE FROM t WHERE id = 8');
	await run(db, 'INSERT INTO local VALUES(1)');
	await delivered();
	assert.deepEqual(heard, [
		['insert', 'main', 't', 7], ['insert', 'main', 't', 8], ['update', 'main', 't', 7], ['delete', 'main', 't', 8],
		['insert', 'temp', 'local', 1],
	]);
	await close(db);
});

test('all three can be heard at once', async () => {
	const db = await memory('CREATE TABLE t(a)');
	const [traces, profiles, changes] = ['trace', 'profile', 'change'].map((type) => record(db, type));
	await run(db, 'INSERT INTO t VALUES(1)');
	await delivered();
	// Of trace and profile the original tells the later only.
	assert.deepEqual([traces.length, profiles.length, changes.length], [IS_ORIGINAL ? 0 : 1, 1, 1]);
	await close(db);
});

test('events come no more once nobody listens', async () => {
	const db = await memory('CREATE TABLE t(a)');
	for (const type of ['trace', 'profile', 'change']) {
		const heard = [];
		const listener = () => heard.push(type);
		db.on(type, listener);
		await run(db, 'INSERT INTO t VALUES(1)');
		await delivered();
		assert.equal(heard.length, 1);
		db.removeListener(type, listener);
		await run(db, 'INSERT INTO t VALUES(2)');
		await delivered();
		assert.equal(heard.length, 1);
		assert.equal(db.listenerCount(type), 0);
		db.addListener(type, listener);
		await run(db, 'INSERT INTO t VALUES(3)');
		await delivered();
		assert.equal(heard.length, 2);
		db.removeAllListeners(type);
		await run(db, 'INSERT INTO t VALUES(4)');
		await delivered();
		assert.equal(heard.length, 2);
	}
	await close(db);
});

test('who listens before the database is open hears of everything', async () => {
	const db = new sqlite3.Database(':memory:');
	const heard = record(db, 'trace');
	await ask(db, 'exec', 'CREATE TABLE t(a)');
	await delivered();
	assert.deepEqual(heard, [['CREATE TABLE t(a)']]);
	await close(db);
});

test('configure sets limits', async () => {
	const db = await memory();
	assert.equal(db.configure('limit', sqlite3.LIMIT_VARIABLE_NUMBER, 3), db);
	assert.deepEqual(await ask(db, 'get', 'SELECT ? AS a, ? AS b, ? AS c', 1, 2, 3), { a: 1, b: 2, c: 3 });
	checkError(await errorOf(db, 'get', 'SELECT ?, ?, ?, ?', 1, 2, 3, 4), sqlite3.ERROR, 'SQLITE_ERROR', 'too many SQL variables');
	db.configure('limit', sqlite3.LIMIT_LENGTH, 100);
	checkError(await errorOf(db, 'get', 'SELECT zeroblob(1000)'), sqlite3.TOOBIG, 'SQLITE_TOOBIG', 'string or blob too big');
	await close(db);
});

test('configure sets how long a lock is waited for', async () => {
	const db = await memory();
	assert.equal(db.configure('busyTimeout', 1234), db);
	assert.deepEqual(await ask(db, 'get', 'PRAGMA busy_timeout'), { timeout: 1234 });
	await close(db);
});

test('a lock is waited for one second unless that is configured', async () => {
	const db = await memory();
	assert.deepEqual(await ask(db, 'get', 'PRAGMA busy_timeout'), { timeout: 1000 });
	await close(db);
});

test('configure refuses what it does not know', async () => {
	const db = await memory();
	assert.throws(() => db.configure('busyTimeout'), { name: 'TypeError', message: 'Expected 2arguments' });
	assert.throws(() => db.configure('busyTimeout', 'long'), { name: 'TypeError', message: 'Value must be an integer' });
	assert.throws(() => db.configure('limit', 1), { name: 'TypeError', message: 'Expected 3arguments' });
	assert.throws(() => db.configure('limit', 'x', 1), { name: 'TypeError', message: 'limit id must be an integer' });
	assert.throws(() => db.configure('limit', 1, 'x'), { name: 'TypeError', message: 'limit value must be an integer' });
	assert.throws(() => db.configure('speed', 1), { name: 'TypeError', message: 'speed is not a valid configuration option' });
	await close(db);
});
