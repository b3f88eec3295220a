'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { Database, SqliteError, freshPath, runProgram, throws } = require('./support');
const { founder, inTime, rowsBecome } = require('./peers');

// Gathers what a live query tells; `next()` waits for what it has not given yet.
function gather(db, sql, parameters) {
	const told = [];
	let given = 0;
	let wake = () => {};
	const stop = db.kith.watch(sql, parameters, (rows, error) => {
		told.push(error ?? rows);
		wake();
	}, { keepAlive: false });
	const next = async () => {
		if (told.length === given) await inTime(new Promise((resolve) => { wake = resolve; }), () => `what ${sql} finds next`);
		given += 1;
		return told[given - 1];
	};
	return { told, next, stop };
}

function plain(sql = 'CREATE TABLE a (id INTEGER PRIMARY KEY, b)') {
	const db = new Database(freshPath());
	db.exec(sql);
	return db;
}

describe('db.kith.watch()', () => {
	for (const [name, open] of [['a plain database', plain], ['a plain database with a write-ahead log', () => {
		const db = plain();
		db.pragma('journal_mode = WAL');
		return db;
	}], ['a replica', () => {
		const db = founder();
		db.exec('CREATE TABLE a (id INTEGER PRIMARY KEY, b)');
		db.kith.sync('a');
		return db;
	}]]) {
		it(`tells the first rows, and others after each commit, of ${name}`, async () => {
			const db = open();
			const { told, next, stop } = gather(db, 'SELECT b FROM a WHERE id >= ? ORDER BY id', [2]);
			assert.deepEqual(told, [], 'never within the call');
			assert.deepEqual(await next(), []);
			const insert = db.prepare('INSERT INTO a VALUES (?, ?)');
			insert.run(2, 'two');
			assert.deepEqual(await next(), [{ b: 'two' }]);
			db.transaction(() => {
				for (let id = 3; id <= 5; ++id) insert.run(id, `${id}`);
			})();
			assert.deepEqual(await next(), [{ b: 'two' }, { b: '3' }, { b: '4' }, { b: '5' }]);
			db.exec('DELETE FROM a WHERE id > 2');
			assert.deepEqual(await next(), [{ b: 'two' }]);
			stop();
			insert.run(9, 'unseen');
			const { next: after, stop: stopAfter } = gather(db, 'SELECT count(*) AS n FROM a', undefined);
			assert.deepEqual(await after(), [{ n: 2 }]);
			assert.equal(told.length, 4);
			stopAfter();
			db.close();
		});
	}

	it('is silent when the rows are the same, and does not mind what is done to them', async () => {
		const db = plain();
		const watched = gather(db, 'SELECT b FROM a WHERE id = 1');
		const other = gather(db, 'SELECT count(*) AS n FROM a');
		assert.deepEqual([await watched.next(), await other.next()], [[], [{ n: 0 }]]);
		db.exec("INSERT INTO a VALUES (1, 'x')");
		const rows = await watched.next();
		assert.deepEqual([rows, await other.next()], [[{ b: 'x' }], [{ n: 1 }]]);
		rows[0].b = 'changed by the application';
		for (let n = 2; n <= 4; ++n) {
			db.exec(`INSERT INTO a VALUES (${n}, 'y')`);
			assert.deepEqual(await other.next(), [{ n }]);
		}
		assert.equal(watched.told.length, 2);
		db.exec("UPDATE a SET b = 'z' WHERE id = 1");
		assert.deepEqual(await watched.next(), [{ b: 'z' }]);
		db.close();
	});

	it('runs once for many commits of one turn', async () => {
		const db = plain();
		const { told, next } = gather(db, 'SELECT count(*) AS n FROM a');
		await next();
		const insert = db.prepare('INSERT INTO a (b) VALUES (?)');
		for (let i = 0; i < 50; ++i) insert.run(i);
		assert.deepEqual(await next(), [{ n: 50 }]);
		assert.equal(told.length, 2);
		db.close();
	});

	it('shows nothing of a transaction before its end, and nothing of one that is rolled back', async () => {
		const db = plain();
		const { told, next } = gather(db, 'SELECT b FROM a');
		await next();
		// A query that is added has all of them looked at.
		const look = () => gather(db, 'SELECT 1');
		db.exec("BEGIN; INSERT INTO a VALUES (1, 'rolled back')");
		look();
		await new Promise(setImmediate);
		await new Promise(setImmediate);
		db.exec('ROLLBACK');
		await look().next();
		db.exec("BEGIN; INSERT INTO a VALUES (1, 'one')");
		look();
		await new Promise(setImmediate);
		await new Promise(setImmediate);
		db.exec("INSERT INTO a VALUES (2, 'two'); COMMIT");
		assert.deepEqual(await next(), [{ b: 'one' }, { b: 'two' }]);
		assert.equal(told.length, 2);
		db.close();
	});

	it('tells of a lock once, and goes on when it is gone', async () => {
		const file = plain().close().name;
		const db = new Database(file, { timeout: 0 });
		const { told, next } = gather(db, 'SELECT count(*) AS n FROM a');
		assert.deepEqual(await next(), [{ n: 0 }]);
		const beside = new Database(file);
		beside.exec('BEGIN EXCLUSIVE');
		const second = gather(db, 'SELECT 2 FROM a');
		const error = await next();
		assert.deepEqual([error.code, error.message], ['SQLITE_BUSY', 'database is locked']);
		assert.equal((await second.next()).code, 'SQLITE_BUSY');
		const third = gather(db, 'SELECT 3 FROM a');
		assert.equal((await third.next()).code, 'SQLITE_BUSY');
		beside.exec('ROLLBACK');
		gather(db, 'SELECT 4');
		assert.deepEqual(await next(), [{ n: 0 }]);
		assert.deepEqual(await second.next(), []);
		assert.equal(told.length, 3);
		beside.close();
		db.close();
	});

	it('sees other connections and other programs', async () => {
		const db = plain();
		const { next } = gather(db, 'SELECT b FROM a ORDER BY id');
		assert.deepEqual(await next(), []);
		const beside = new Database(db.name);
		beside.exec("INSERT INTO a VALUES (1, 'beside')");
		assert.deepEqual(await next(), [{ b: 'beside' }]);
		const { status } = runProgram("new Database(file).exec(\"INSERT INTO a VALUES (2, 'elsewhere')\")", { file: db.name });
		assert.equal(status, 0);
		assert.deepEqual(await next(), [{ b: 'beside' }, { b: 'elsewhere' }]);
		db.close();
		beside.close();
	});

	it('follows the schema', async () => {
		const db = plain();
		const { next } = gather(db, 'SELECT * FROM a');
		await next();
		db.exec("ALTER TABLE a ADD COLUMN c DEFAULT 7; INSERT INTO a (b) VALUES ('x')");
		assert.deepEqual(await next(), [{ id: 1, b: 'x', c: 7 }]);
		db.exec('ALTER TABLE a RENAME TO elsewhere');
		const error = await next();
		assert.ok(error instanceof SqliteError);
		assert.equal(error.message, 'no such table: a');
		db.exec('ALTER TABLE elsewhere RENAME TO a');
		assert.deepEqual(await next(), [{ id: 1, b: 'x', c: 7 }]);
		db.close();
	});

	it('waits for a table that has not arrived yet', async () => {
		const db = founder();
		const { next, stop } = gather(db, 'SELECT b FROM later');
		const missing = await next();
		assert.deepEqual([missing instanceof SqliteError, missing.message], [true, 'no such table: later']);
		db.exec("CREATE TABLE later (b); INSERT INTO later VALUES ('x')");
		let rows = await next();
		if (rows.length === 0) rows = await next();
		assert.deepEqual(rows, [{ b: 'x' }]);
		stop();
		throws(() => db.kith.watch('SELECT missing FROM later', () => {}), SqliteError, 'no such column: missing', 'SQLITE_ERROR');
		throws(() => plain().kith.watch('SELECT b FROM later', () => {}), SqliteError, 'no such table: later', 'SQLITE_ERROR');
		db.close();
	});

	it('takes parameters as statements do, and the settings of the database', async () => {
		const db = plain();
		db.exec("INSERT INTO a VALUES (9223372036854775807, x'00ff')");
		db.defaultSafeIntegers();
		const named = gather(db, 'SELECT * FROM a WHERE id > @least', { least: 1 });
		assert.deepEqual(await named.next(), [{ id: 9223372036854775807n, b: Buffer.from([0, 255]) }]);
		db.defaultSafeIntegers(false);
		const none = await new Promise((resolve) => db.kith.watch('SELECT 1 AS one', resolve));
		assert.deepEqual(none, [{ one: 1 }]);
		const { next } = gather(db, 'SELECT ? AS x', []);
		const error = await next();
		assert.equal(Object.getPrototypeOf(error), RangeError.prototype);
		assert.equal(error.message, 'Too few parameter values were provided');
		db.close();
	});

	it('ends when the database is closed, and keeps the program alive until then unless it is not to', () => {
		const open = "const db = new Database(file); db.exec('CREATE TABLE IF NOT EXISTS a (b)');";
		const file = freshPath();
		const closing = runProgram(`${open} db.kith.watch('SELECT * FROM a', (rows) => { console.log(rows.length); db.close(); })`, { file });
		assert.deepEqual(closing, { status: 0, signal: null, stdout: '0\n', stderr: '' });
		const stopping = runProgram(`${open}
			const stop = db.kith.watch('SELECT count(*) AS n FROM a', ([{ n }]) => {
				console.log(n);
				if (n === 1) stop();
				else setTimeout(() => db.exec('INSERT INTO a VALUES (1)'), 1).unref();
			})`, { file });
		assert.deepEqual(stopping, { status: 0, signal: null, stdout: '0\n1\n', stderr: '' });
		const idle = runProgram(`${open} db.kith.watch('SELECT * FROM a', [], () => {}, { keepAlive: false })`, { file });
		assert.deepEqual(idle, { status: 0, signal: null, stdout: '', stderr: '' });
	});

	it('what a callback throws is uncaught, and stops no other query', () => {
		const { status, stdout } = runProgram(`
			const db = new Database(file);
			process.on('uncaughtException', (error) => console.log(error.message));
			db.kith.watch('SELECT 1', () => { throw new Error('of the callback'); });
			db.kith.watch('SELECT 2', () => { console.log('the other'); db.close(); });`, { file: freshPath() });
		assert.deepEqual([status, stdout], [0, 'of the callback\nthe other\n']);
	});

	it('refuses what is no live query', () => {
		const db = plain();
		throws(() => db.kith.watch('INSERT INTO a VALUES (1, 2)', () => {}), TypeError, 'db.kith.watch takes a statement that returns rows and writes nothing');
		throws(() => db.kith.watch('DELETE FROM a RETURNING *', () => {}), TypeError, 'db.kith.watch takes a statement that returns rows and writes nothing');
		throws(() => db.kith.watch('SELECT nowhere', () => {}), SqliteError, 'no such column: nowhere', 'SQLITE_ERROR');
		throws(() => db.kith.watch('SELECT 1'), TypeError, /^db\.kith\.watch takes a query/);
		throws(() => db.kith.watch('SELECT ?', 1, 2, () => {}), TypeError, /^db\.kith\.watch takes a query/);
		throws(() => db.kith.watch('SELECT 1', () => {}, { every: 5 }), TypeError, 'db.kith.watch has no option "every"; it has keepAlive');
		throws(() => new Database(':memory:').kith.watch('SELECT 1', () => {}), TypeError, 'db.kith.watch needs a database in a file; open it with a path');
		db.close();
		throws(() => db.kith.watch('SELECT 1', () => {}), TypeError, 'The database connection is not open');
	});

	it('works on a database that is opened to be read', async () => {
		const db = plain();
		const readonly = new Database(db.name, { readonly: true });
		const changed = rowsBecome(readonly, 'SELECT count(*) AS n FROM a', [{ n: 1 }]);
		db.exec('INSERT INTO a VALUES (1, 2)');
		await changed;
		readonly.close();
		db.close();
	});
});
