'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { sqlite3, IS_ORIGINAL, answer, ask, run, errorOf, checkError, memory, close, runProgram } = require('./sqlite3-support');

const FILLED = "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES(1, 'one'), (2, 'two'), (3, 'three')";

async function withStatement(sql, use) {
	const db = await memory(FILLED);
	const statement = db.prepare(sql);
	await use(statement, db);
	await ask(statement, 'finalize');
	await close(db);
}

test('a statement is made with a database and a text', async () => {
	const { signal, stdout } = runProgram(`
		const db = new sqlite3.Database(':memory:');
		for (const given of [[], [{}, 'SELECT 1'], [db], [db, 7], [db, 'SELECT 1', 7]]) {
			try {
				new sqlite3.Statement(...given);
			} catch ({ name, message }) {
				console.log(name, message);
			}
		}
	`);
	// The original's own words for it never arrive: it crashes.
	if (IS_ORIGINAL) assert.notEqual(signal, null);
	else assert.deepEqual(stdout.split('\n'), [
		'TypeError Database object expected', 'TypeError Database object expected', 'TypeError SQL query expected',
		'TypeError SQL query expected', 'TypeError Callback expected', '',
	]);
	const db = await memory();
	const statement = await new Promise((resolve) => {
		const made = new sqlite3.Statement(db, 'SELECT 1 AS one', function (error) {
			assert.equal(error, null);
			assert.equal(this, made);
			resolve(made);
		});
	});
	assert.deepEqual(await ask(statement, 'get'), { one: 1 });
	statement.finalize();
	await close(db);
});

test('its text cannot be changed', () => withStatement('SELECT 1', async (statement) => {
	assert.throws(() => {
		statement.sql = 'SELECT 2';
	}, TypeError);
	assert.equal(statement.sql, 'SELECT 1');
}));

test('its methods return the statement, but finalize the database', async () => {
	const db = await memory(FILLED);
	const statement = db.prepare('SELECT 1');
	for (const method of ['bind', 'run', 'get', 'all', 'each', 'map']) assert.equal(statement[method](() => {}), statement);
	assert.equal(statement.reset(), statement);
	assert.equal(statement.finalize(), db);
	await close(db);
});

test('run can be called again and again', () => withStatement('INSERT INTO t(name) VALUES(?)', async (statement) => {
	for (let i = 4; i < 10; i += 1) assert.deepEqual(await run(statement, `name ${i}`), { lastID: i, changes: 1 });
	const { self, values } = await answer(statement, 'run', 'x');
	assert.equal(self, statement);
	assert.deepEqual(values, [null]);
}));

test('calls on one statement are done in their order', () => withStatement('INSERT INTO t(name) VALUES(?)', async (statement, db) => {
	const heard = [];
	for (let i = 0; i < 500; i += 1) statement.run(i, () => heard.push(i));
	await run(statement, 'last');
	assert.deepEqual(heard, Array.from({ length: 500 }, (_, index) => index));
	const rows = await ask(db, 'all', 'SELECT name FROM t WHERE id > 3 ORDER BY id');
	assert.deepEqual(rows.map(({ name }) => name), [...heard.map(String), 'last']);
}));

test('run keeps parameters that it is not given', () => withStatement('INSERT INTO t(name) VALUES(?)', async (statement, db) => {
	await run(statement, 'kept');
	await run(statement);
	assert.deepEqual(await ask(db, 'all', 'SELECT name FROM t WHERE id > 3'), [{ name: 'kept' }, { name: 'kept' }]);
}));

test('parameters that are given replace all that were', () => withStatement('SELECT ? AS a, ? AS b', async (statement) => {
	assert.deepEqual(await ask(statement, 'get', 1, 2), { a: 1, b: 2 });
	assert.deepEqual(await ask(statement, 'get', 3), { a: 3, b: null });
}));

test('get without parameters goes on to the next row', () => withStatement('SELECT id FROM t ORDER BY id', async (statement) => {
	for (const id of [1, 2, 3]) assert.deepEqual(await ask(statement, 'get'), { id });
	assert.deepEqual((await answer(statement, 'get')).values, [null]);
	assert.deepEqual((await answer(statement, 'get')).values, [null]);
	await ask(statement, 'reset');
	assert.deepEqual(await ask(statement, 'get'), { id: 1 });
}));

test('get with parameters begins anew', () => withStatement('SELECT id FROM t WHERE id > ? ORDER BY id', async (statement) => {
	assert.deepEqual(await ask(statement, 'get', 0), { id: 1 });
	assert.deepEqual(await ask(statement, 'get', 0), { id: 1 });
	assert.deepEqual(await ask(statement, 'get'), { id: 2 });
	assert.deepEqual(await ask(statement, 'get', 2), { id: 3 });
}));

test('a statement that is got from keeps its lock until it is reset', async () => {
	const db = await memory(FILLED);
	const statement = db.prepare('SELECT id FROM t');
	await ask(statement, 'get');
	checkError(await errorOf(db, 'exec', 'DROP TABLE t'), sqlite3.LOCKED, 'SQLITE_LOCKED', 'database table is locked');
	await ask(statement, 'reset');
	await ask(db, 'exec', 'DROP TABLE t');
	statement.finalize();
	await close(db);
});

test('all and each begin anew each time', () => withStatement('SELECT id FROM t WHERE id > ? ORDER BY id', async (statement) => {
	assert.deepEqual(await ask(statement, 'all', 1), [{ id: 2 }, { id: 3 }]);
	assert.deepEqual(await ask(statement, 'all'), [{ id: 2 }, { id: 3 }]);
	const ids = [];
	const each = (...given) => new Promise((resolve) => statement.each(...given, (error, { id }) => ids.push(id), (error, count) => resolve(count)));
	assert.equal(await each(2), 1);
	assert.equal(await each(), 1);
	assert.deepEqual(ids, [3, 3]);
}));

test('each calls back as a method of the statement', () => withStatement('SELECT id FROM t', async (statement) => {
	await new Promise((resolve) => {
		statement.each(function () {
			assert.equal(this, statement);
		}, function (...values) {
			assert.equal(this, statement);
			assert.deepEqual(values, [null, 3]);
			resolve();
		});
	});
}));

test('map makes the first column the keys', () => withStatement('SELECT name, id FROM t WHERE id < ?', async (statement) => {
	assert.deepEqual(await ask(statement, 'map', 3), { one: 1, two: 2 });
}));

test('bind sets parameters for what follows', () => withStatement('SELECT name FROM t WHERE id = ?', async (statement) => {
	const { values, self } = await answer(statement, 'bind', 2);
	assert.deepEqual(values, [null]);
	assert.equal(self, statement);
	assert.deepEqual(await ask(statement, 'get'), { name: 'two' });
	await ask(statement, 'bind', [3]);
	assert.deepEqual(await ask(statement, 'all'), [{ name: 'three' }]);
}));

test('bind tells of a parameter that is not there', () => withStatement('SELECT name FROM t WHERE id = ?', async (statement) => {
	checkError(await errorOf(statement, 'bind', 1, 2), sqlite3.RANGE, 'SQLITE_RANGE', 'column index out of range');
}));

test('reset calls back and keeps what is bound', () => withStatement('SELECT name FROM t WHERE id = ?', async (statement) => {
	assert.deepEqual(await ask(statement, 'get', 2), { name: 'two' });
	const { values, self } = await answer(statement, 'reset');
	assert.deepEqual(values, [null]);
	assert.equal(self, statement);
	assert.deepEqual(await ask(statement, 'get'), { name: 'two' });
	assert.throws(() => statement.reset(7), { name: 'TypeError', message: 'Argument 0 must be a function' });
}));

test('a statement works on after it has failed', () => withStatement('INSERT INTO t(id) VALUES(?)', async (statement) => {
	checkError(await errorOf(statement, 'run', 1), sqlite3.CONSTRAINT, 'SQLITE_CONSTRAINT', 'UNIQUE constraint failed: t.id');
	assert.deepEqual(await run(statement, 4), { lastID: 4, changes: 1 });
}));

test('what fails without a callback is emitted on the statement', () => withStatement('INSERT INTO t(id) VALUES(?)', async (statement) => {
	const heard = new Promise((resolve) => statement.once('error', resolve));
	statement.run(1);
	checkError(await heard, sqlite3.CONSTRAINT, 'SQLITE_CONSTRAINT', 'UNIQUE constraint failed: t.id');
	assert.deepEqual(await run(statement, 4), { lastID: 4, changes: 1 });
}));

test('finalize calls back with nothing, as a method of the statement', async () => {
	const db = await memory(FILLED);
	const statement = db.prepare('SELECT 1');
	const { values, self } = await answer(statement, 'finalize');
	assert.deepEqual(values, []);
	assert.equal(self, statement);
	assert.throws(() => db.prepare('SELECT 1').finalize(7), { name: 'TypeError', message: 'Argument 0 must be a function' });
});

test('finalize waits for what was asked before', async () => {
	const db = await memory(FILLED);
	const statement = db.prepare('SELECT id FROM t WHERE id = ?');
	const heard = [];
	for (const id of [1, 2, 3]) statement.get(id, (error, row) => heard.push(row.id));
	await ask(statement, 'finalize');
	assert.deepEqual(heard, [1, 2, 3]);
	await close(db);
});

test('a finalized statement refuses everything', async () => {
	const db = await memory(FILLED);
	const statement = db.prepare('SELECT 1');
	await ask(statement, 'finalize');
	for (const method of ['bind', 'run', 'get', 'all', 'map', 'reset', 'finalize']) {
		const error = await errorOf(statement, method);
		checkError(error, sqlite3.MISUSE, 'SQLITE_MISUSE', 'Statement is already finalized');
	}
	await close(db);
});

test('a finalized statement emits its refusal where there is no callback', async () => {
	const db = await memory(FILLED);
	const statement = db.prepare('SELECT 1');
	await ask(statement, 'finalize');
	const heard = new Promise((resolve) => statement.once('error', resolve));
	statement.run();
	checkError(await heard, sqlite3.MISUSE, 'SQLITE_MISUSE', 'Statement is already finalized');
	await close(db);
});

test('statements of one database do not disturb each other', async () => {
	const db = await memory(FILLED);
	const [one, other] = [db.prepare('SELECT id FROM t ORDER BY id'), db.prepare('SELECT id FROM t ORDER BY id DESC')];
	for (const [first, last] of [[1, 3], [2, 2], [3, 1]]) {
		assert.deepEqual(await ask(one, 'get'), { id: first });
		assert.deepEqual(await ask(other, 'get'), { id: last });
	}
	one.finalize();
	other.finalize();
	await close(db);
});
