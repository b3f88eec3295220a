'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { sqlite3, IS_ORIGINAL, answer, ask, run, errorOf, checkError, open, memory, close, freshPath } = require('./sqlite3-support');

// A query that takes long, unless it is interrupted.
const LONG = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) AS n FROM n';

test('callbacks are called later, never while the method runs', async () => {
	const db = await memory('CREATE TABLE t(a)');
	let isIn = true;
	const later = (resolve) => () => {
		assert.equal(isIn, false);
		resolve();
	};
	const statement = db.prepare('SELECT 1');
	const all = [
		new Promise((resolve) => db.run('SELECT 1', later(resolve))),
		new Promise((resolve) => db.exec('SELECT 1', later(resolve))),
		new Promise((resolve) => statement.get(later(resolve))),
		new Promise((resolve) => db.wait(later(resolve))),
		new Promise((resolve) => statement.finalize(later(resolve))),
		new Promise((resolve) => db.close(later(resolve))),
	];
	isIn = false;
	await Promise.all(all);
});

test('serialized calls are done in their order, each when the one before has called back', async () => {
	const db = await open();
	const heard = [];
	await new Promise((resolve) => {
		db.serialize(function () {
			assert.equal(this, db);
			db.run('CREATE TABLE t(a)', () => heard.push('create'));
			for (let i = 0; i < 50; i += 1) db.run('INSERT INTO t VALUES(?)', i, () => heard.push(i));
			db.all('SELECT a FROM t ORDER BY a', (error, rows) => heard.push(rows.length));
			db.run('DROP TABLE t', resolve);
		});
	});
	assert.deepEqual(heard, ['create', ...Array.from({ length: 50 }, (_, index) => index), 50]);
	await close(db);
});

test('what a callback asks of another statement is done before the next serialized call', async () => {
	const db = await memory('CREATE TABLE t(a)');
	const insert = db.prepare('INSERT INTO t VALUES(?)');
	await ask(insert, 'run', 'first');
	await new Promise((resolve) => {
		db.serialize(() => {
			db.run('BEGIN', () => insert.run('within'));
			db.run('ROLLBACK', resolve);
		});
	});
	await ask(insert, 'finalize');
	assert.deepEqual(await ask(db, 'all', 'SELECT a FROM t'), [{ a: 'first' }]);
	await close(db);
});

test('serialized calls without callbacks keep their order, too', async () => {
	const db = await open();
	const rows = await new Promise((resolve) => {
		db.serialize(() => {
			db.run('CREATE TABLE t(a)');
			const insert = db.prepare('INSERT INTO t VALUES(?)');
			for (let i = 0; i < 1000; i += 1) insert.run(i);
			insert.finalize();
			db.exec('DELETE FROM t WHERE a % 2');
			db.run('UPDATE t SET a = a + 1');
			db.get('SELECT count(*) AS n, min(a) AS low, max(a) AS high FROM t', (error, row) => resolve(row));
		});
	});
	assert.deepEqual(rows, { n: 500, low: 1, high: 999 });
	await close(db);
});

test('serialize without a function holds until parallelize', async () => {
	const db = await open();
	assert.equal(db.serialize(), db);
	const heard = [];
	db.run('CREATE TABLE t(a)', () => heard.push(1));
	db.run('INSERT INTO t VALUES(1)', () => heard.push(2));
	await run(db, 'INSERT INTO t VALUES(2)');
	assert.deepEqual(heard, [1, 2]);
	assert.equal(db.parallelize(), db);
	assert.deepEqual(await ask(db, 'get', 'SELECT count(*) AS n FROM t'), { n: 2 });
	await close(db);
});

test('serialize and parallelize hold within their function only, also when that throws', async () => {
	const db = await memory('CREATE TABLE t(a)');
	const heard = [];
	await new Promise((resolve) => {
		db.serialize(() => {
			db.run('INSERT INTO t VALUES(1)', () => heard.push(1));
			db.parallelize(() => {
				db.serialize(() => db.run('INSERT INTO t VALUES(2)', () => heard.push(2)));
			});
			db.run('INSERT INTO t VALUES(3)', () => heard.push(3));
			db.run('INSERT INTO t VALUES(4)', resolve);
		});
	});
	assert.deepEqual(heard, [1, 2, 3]);
	assert.throws(() => db.serialize(() => {
		throw new Error('mine');
	}), { message: 'mine' });
	assert.throws(() => db.serialize(7), { name: 'TypeError', message: 'Argument 0 must be a function' });
	assert.throws(() => db.parallelize(7), { name: 'TypeError', message: 'Argument 0 must be a function' });
	await close(db);
});

test('exec waits for what was asked before, and what comes after it waits for it', async () => {
	const db = await memory('CREATE TABLE t(a)');
	const heard = [];
	const statement = db.prepare('INSERT INTO t VALUES(?)');
	for (let i = 0; i < 20; i += 1) statement.run(i, () => heard.push('run'));
	await new Promise((resolve) => {
		db.exec('DELETE FROM t', () => heard.push('exec'));
		db.exec("INSERT INTO t VALUES('last')", () => heard.push('second exec'));
		db.wait(() => db.all('SELECT a FROM t', (error, rows) => resolve(heard.push(rows.length))));
	});
	assert.deepEqual(heard, [...Array.from({ length: 20 }, () => 'run'), 'exec', 'second exec', 1]);
	statement.finalize();
	await close(db);
});

test('exec waits for what the callbacks before it ask of statements, too', async () => {
	const db = await memory('CREATE TABLE t(a)');
	const [first, second] = [db.prepare('INSERT INTO t VALUES(1)'), db.prepare('INSERT INTO t VALUES(2)')];
	first.run(() => second.run());
	await ask(db, 'exec', 'DELETE FROM t');
	first.finalize();
	await ask(second, 'finalize');
	assert.deepEqual(await ask(db, 'all', 'SELECT a FROM t'), []);
	await close(db);
});

test('what comes after exec begins when exec has called back', async () => {
	const db = await memory('CREATE TABLE t(a)');
	const insert = db.prepare('INSERT INTO t VALUES(1)');
	await ask(insert, 'reset');
	db.exec('SELECT 1', () => insert.run());
	const rows = await ask(db, 'all', 'SELECT a FROM t');
	// In the original both then run at the same time.
	if (!IS_ORIGINAL) assert.deepEqual(rows, [{ a: 1 }]);
	await ask(insert, 'finalize');
	await close(db);
});

test('wait calls back when everything before has', async () => {
	const db = await memory('CREATE TABLE t(a)');
	let done = 0;
	for (let i = 0; i < 30; i += 1) {
		db.run('INSERT INTO t VALUES(?)', i, () => {
			done += 1;
		});
	}
	const { values, self } = await answer(db, 'wait');
	assert.equal(done, 30);
	assert.deepEqual(values, [null]);
	assert.equal(self, db);
	await close(db);
});

test('calls in the callback of the last come after those that wait', async () => {
	const db = await open();
	const heard = [];
	await new Promise((resolve) => {
		db.serialize();
		db.run('CREATE TABLE t(a)', () => {
			heard.push('create');
			db.run('INSERT INTO t VALUES(1)', () => resolve(heard.push('nested')));
		});
		db.run('INSERT INTO t VALUES(2)', () => heard.push('second'));
		db.run('INSERT INTO t VALUES(3)', () => heard.push('third'));
	});
	assert.deepEqual(heard, ['create', 'second', 'third', 'nested']);
	await close(db);
});

test('each can be used within each', async () => {
	const db = await memory('CREATE TABLE t(a); INSERT INTO t VALUES(1), (2), (3)');
	const pairs = [];
	await new Promise((resolve) => {
		let open = 0;
		db.each('SELECT a FROM t ORDER BY a', (error, { a }) => {
			open += 1;
			db.each('SELECT a AS b FROM t ORDER BY a', (failure, { b }) => pairs.push(10 * a + b), () => {
				open -= 1;
				if (open === 0 && pairs.length === 9) resolve();
			});
		});
	});
	assert.deepEqual(pairs.sort(), [11, 12, 13, 21, 22, 23, 31, 32, 33]);
	await close(db);
});

test('interrupt ends what runs', async () => {
	const db = await memory();
	const failed = errorOf(db, 'get', LONG);
	const timer = setInterval(() => db.interrupt(), 5);
	checkError(await failed, sqlite3.INTERRUPT, 'SQLITE_INTERRUPT', 'interrupted');
	clearInterval(timer);
	assert.equal(db.interrupt(), db);
	assert.deepEqual(await ask(db, 'get', 'SELECT 1 AS one'), { one: 1 });
	await close(db);
});

test('interrupt ends each in the midst of its rows', async () => {
	const db = await memory();
	let rows = 0;
	const error = await new Promise((resolve) => {
		db.each('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n LIMIT 100000000', (failure) => {
			if (failure) resolve(failure);
			else if ((rows += 1) === 10) db.interrupt();
		});
	});
	checkError(error, sqlite3.INTERRUPT, 'SQLITE_INTERRUPT', 'interrupted');
	assert.ok(rows >= 10);
	await close(db);
});

test('interrupt needs an open database', async () => {
	const db = new sqlite3.Database(':memory:');
	assert.throws(() => db.interrupt(), { message: 'Database is not open' });
	await ask(db, 'wait');
	db.close();
	assert.throws(() => db.interrupt(), { message: 'Database is closing' });
	await new Promise((resolve) => db.on('close', resolve));
	assert.throws(() => db.interrupt(), { message: 'Database is not open' });
});

test('the program goes on while statements run', async () => {
	const db = await memory();
	let ticks = 0;
	const timer = setInterval(() => {
		ticks += 1;
		if (ticks === 5) db.interrupt();
	}, 1);
	await errorOf(db, 'get', LONG);
	clearInterval(timer);
	assert.ok(ticks >= 5);
	await close(db);
});

test('two databases work at the same time', async () => {
	const file = freshPath();
	const [one, other] = [await open(file), await open(file)];
	const long = errorOf(one, 'get', LONG);
	await ask(other, 'exec', 'CREATE TABLE t(a); INSERT INTO t VALUES(1)');
	one.interrupt();
	const timer = setInterval(() => one.interrupt(), 5);
	await long;
	clearInterval(timer);
	assert.deepEqual(await ask(one, 'get', 'SELECT a FROM t'), { a: 1 });
	await close(one);
	await close(other);
});

test('a lock is waited for as long as was configured', async () => {
	const file = freshPath();
	const [holder, waiter] = [await open(file), await open(file)];
	await ask(holder, 'exec', 'CREATE TABLE t(a); BEGIN IMMEDIATE');
	waiter.configure('busyTimeout', 1);
	checkError(await errorOf(waiter, 'run', 'INSERT INTO t VALUES(1)'), sqlite3.BUSY, 'SQLITE_BUSY', 'database is locked');
	waiter.configure('busyTimeout', 60000);
	const inserted = run(waiter, 'INSERT INTO t VALUES(1)');
	await ask(holder, 'exec', 'COMMIT');
	assert.equal((await inserted).changes, 1);
	await close(holder);
	await close(waiter);
});

test('callbacks are called in the asynchronous context of the call', async () => {
	const { AsyncLocalStorage } = require('node:async_hooks');
	const storage = new AsyncLocalStorage();
	const db = await memory();
	const within = (context, object, method, ...given) => new Promise((resolve) => {
		storage.run(context, () => object[method](...given, () => resolve(storage.getStore())));
	});
	assert.equal(await within('get', db, 'get', 'SELECT 1'), 'get');
	if (!IS_ORIGINAL) {
		// The original keeps it for the first use of a text only.
		const statement = db.prepare('SELECT 1');
		for (const method of ['run', 'get', 'all', 'each', 'reset', 'finalize']) assert.equal(await within(method, statement, method), method);
		for (const method of ['run', 'all', 'each', 'exec', 'prepare']) assert.equal(await within(method, db, method, 'SELECT 1'), method);
		db.serialize();
		const all = [1, 2, 3].map((number) => within(number, db, 'get', 'SELECT 1'));
		const prepared = db.prepare('SELECT 1');
		all.push(within('prepared', prepared, 'get'), within('finalized', prepared, 'finalize'));
		assert.deepEqual(await Promise.all([...all, within('last', db, 'wait')]), [1, 2, 3, 'prepared', 'finalized', 'last']);
	}
	// Of what was prepared here statements may be left.
	db.interrupt();
});
