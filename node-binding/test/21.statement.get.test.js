'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { memory, filled, throws, throwsSqlite, throwsValue, BUSY, STATEMENT_BUSY } = require('./support');

describe('get(): rows', () => {
	it('returns the first row as a plain object whose keys are the column names in order', () => {
		const db = filled(memory());
		const row = db.prepare('SELECT * FROM entries ORDER BY i').get();
		assert.deepEqual(row, { t: 'text 1', i: 1, r: 1.25, b: Buffer.from([1, 0, 255]), n: null });
		assert.deepEqual(Object.keys(row), ['t', 'i', 'r', 'b', 'n']);
		assert.equal(Object.getPrototypeOf(row), Object.prototype);
	});

	it('makes columns that can be changed, removed and added to', () => {
		const row = memory().prepare('SELECT 1 AS a, 2 AS b').get();
		row.a = 5;
		delete row.b;
		row.c = 7;
		assert.deepEqual(row, { a: 5, c: 7 });
	});

	it('returns undefined when there is no row', () => {
		const db = memory('CREATE TABLE a (b)');
		assert.equal(db.prepare('SELECT * FROM a').get(), undefined);
		assert.equal(db.prepare('SELECT * FROM a').pluck().get(), undefined);
		assert.equal(db.prepare('SELECT * FROM a').raw().get(), undefined);
		assert.equal(db.prepare('SELECT * FROM a').expand().get(), undefined);
	});

	it('makes a new object every time', () => {
		const statement = memory().prepare('SELECT 1 AS a');
		assert.notEqual(statement.get(), statement.get());
		statement.get().a = 2;
		assert.deepEqual(statement.get(), { a: 1 });
	});

	it('keeps the last value of columns with one name, at the place of the first', () => {
		const row = memory().prepare('SELECT 1 AS a, 2 AS b, 3 AS a').get();
		assert.deepEqual(row, { a: 3, b: 2 });
		assert.deepEqual(Object.keys(row), ['a', 'b']);
	});

	it('names columns as SQLite does', () => {
		const db = memory('CREATE TABLE a (Beta)');
		db.exec('INSERT INTO a VALUES (1)');
		assert.deepEqual(db.prepare('SELECT beta, BETA + 1, count(*), "Beta" AS "", 5, \'x\' FROM a').get(), { Beta: 1, 'BETA + 1': 2, 'count(*)': 1, '': 1, 5: 5, "'x'": 'x' });
	});

	it('takes any text for a column name', () => {
		const row = memory().prepare('SELECT 1 AS "a b", 2 AS "naïve 🗝", 3 AS "constructor", 4 AS "toString", 5 AS "0", 6 AS "quote "" and \'", 7 AS "a\\b\n`${x}"').get();
		assert.deepEqual(Object.entries(row).sort(), [['0', 5], ['a b', 1], ['a\\b\n`${x}', 7], ['constructor', 3], ['naïve 🗝', 2], ['quote " and \'', 6], ['toString', 4]].sort());
	});

	it('survives a column named __proto__', () => {
		const db = memory();
		// Whether the column becomes a property depends on Node's version in the original: with Node 20 it is assigned (and lost), later it is defined.
		const row = db.prepare('SELECT 1 AS a, 2 AS "__proto__", 3 AS b').get();
		assert.equal(row.a, 1);
		assert.equal(row.b, 3);
		assert.equal(Object.getPrototypeOf(row), Object.prototype);
		const own = Object.getOwnPropertyDescriptor(row, '__proto__');
		assert.ok(own === undefined || own.value === 2);
		assert.deepEqual(db.prepare('SELECT 1 AS a, 2 AS "__proto__", 3 AS b').raw().get(), [1, 2, 3]);
		assert.equal({}.a, undefined);
	});

	it('returns rows of a thousand columns', () => {
		const names = Array.from({ length: 1000 }, (_, i) => `c${i}`);
		const row = memory().prepare(`SELECT ${names.map((name, i) => `${i} AS ${name}`)}`).get();
		assert.deepEqual(Object.keys(row), names);
		assert.deepEqual(Object.values(row), names.map((_, i) => i));
	});

	it('runs a statement only as far as the first row', () => {
		const db = memory();
		let calls = 0;
		db.function('seen', (x) => { calls += 1; return x; });
		assert.equal(db.prepare('SELECT seen(value) FROM json_each(?)').pluck().get('[1, 2, 3]'), 1);
		assert.equal(calls, 1);
	});

	it('finishes an INSERT ... RETURNING although it returns one row', () => {
		const db = memory('CREATE TABLE a (b)');
		assert.deepEqual(db.prepare('INSERT INTO a VALUES (1), (2), (3) RETURNING b').get(), { b: 1 });
		assert.equal(db.prepare('SELECT count(*) FROM a').pluck().get(), 3);
	});

	it('leaves no lock behind: the table can be dropped at once', () => {
		const db = filled(memory());
		db.prepare('SELECT * FROM entries').get();
		db.exec('DROP TABLE entries');
	});

	it('sees changes between calls', () => {
		const db = memory('CREATE TABLE a (b)');
		const max = db.prepare('SELECT max(b) FROM a').pluck();
		const insert = db.prepare('INSERT INTO a VALUES (?)');
		for (let i = 0; i < 10; ++i) {
			insert.run(i);
			assert.equal(max.get(), i);
		}
	});

	it('returns rows of EXPLAIN and of pragmas', () => {
		const db = memory('CREATE TABLE a (b)');
		assert.equal(db.prepare('EXPLAIN SELECT 1').get().addr, 0);
		assert.match(db.prepare('EXPLAIN QUERY PLAN SELECT * FROM a').get().detail, /^SCAN a/);
		assert.deepEqual(db.prepare('PRAGMA user_version').get(), { user_version: 0 });
	});
});

describe('get(): values', () => {
	// What is bound, what SQLite says it is, and what comes back.
	for (const [title, value, type, back] of [
		['an integer', 5, 'real', 5],
		['zero', 0, 'real', 0],
		['minus zero', -0, 'real', -0],
		['a fraction', 0.1, 'real', 0.1],
		['the largest safe integer', Number.MAX_SAFE_INTEGER, 'real', Number.MAX_SAFE_INTEGER],
		['the largest number', Number.MAX_VALUE, 'real', Number.MAX_VALUE],
		['the smallest number', Number.MIN_VALUE, 'real', Number.MIN_VALUE],
		['Infinity', Infinity, 'real', Infinity],
		['-Infinity', -Infinity, 'real', -Infinity],
		['NaN', NaN, 'null', null],
		['a bigint', 5n, 'integer', 5],
		['the largest int64', 9223372036854775807n, 'integer', 9223372036854775807],
		['the smallest int64', -9223372036854775808n, 'integer', -9223372036854775808],
		['a string', 'text', 'text', 'text'],
		['an empty string', '', 'text', ''],
		['a string with NUL in it', 'a\0b', 'text', 'a\0b'],
		['a string of NULs', '\0\0', 'text', '\0\0'],
		['text outside the BMP', 'ключ 🗝 鍵 \u{10ffff}', 'text', 'ключ 🗝 鍵 \u{10ffff}'],
		['a byte order mark', '\ufefftext', 'text', '\ufefftext'],
		['a buffer', Buffer.from([0, 1, 255]), 'blob', Buffer.from([0, 1, 255])],
		['an empty buffer', Buffer.alloc(0), 'blob', Buffer.alloc(0)],
		['null', null, 'null', null],
		['undefined', undefined, 'null', null],
	]) {
		it(`brings back ${title} (stored as ${type})`, () => {
			const row = memory().prepare('SELECT typeof(?1) AS type, ?1 AS value').get({ 1: value });
			assert.equal(row.type, type);
			if (Buffer.isBuffer(back)) {
				assert.ok(Buffer.isBuffer(row.value));
				assert.ok(back.equals(row.value));
			} else {
				assert.ok(Object.is(row.value, back), `got ${String(row.value)}`);
			}
		});
	}

	it('stores whole numbers as integers in INTEGER columns', () => {
		const db = memory('CREATE TABLE a (b INTEGER, c REAL, d TEXT, e BLOB, f)');
		db.prepare('INSERT INTO a VALUES (?, ?, ?, ?, ?)').run([5, 5, 5, 5, 5]);
		assert.deepEqual(db.prepare('SELECT typeof(b), typeof(c), typeof(d), typeof(e), typeof(f) FROM a').raw().get(), ['integer', 'real', 'text', 'real', 'real']);
		assert.equal(db.prepare('SELECT d FROM a').pluck().get(), '5.0');
	});

	it('returns true and false of SQL as 1 and 0', () => {
		assert.deepEqual(memory().prepare('SELECT TRUE AS t, 1 > 2 AS f').get(), { t: 1, f: 0 });
	});
});

describe('get(): refusals and errors', () => {
	for (const sql of ['INSERT INTO a VALUES (1)', 'UPDATE a SET b = 1', 'DELETE FROM a', 'CREATE TABLE c (d)', 'BEGIN']) {
		it(`refuses ${sql}`, () => {
			const db = memory('CREATE TABLE a (b)');
			throws(() => db.prepare(sql).get(), TypeError, 'This statement does not return data. Use run() instead');
			assert.equal(db.inTransaction, false);
			assert.equal(db.prepare('SELECT count(*) FROM a').pluck().get(), 0);
		});
	}

	it('throws what goes wrong while it runs, and works again', () => {
		const statement = memory().prepare('SELECT abs(?)').pluck();
		throwsSqlite(() => statement.get(-9223372036854775808n), 'SQLITE_ERROR', 'integer overflow');
		assert.equal(statement.get(-5n), 5);
	});

	it('throws exactly what a user function threw, even null and undefined', () => {
		const db = memory();
		let thrown;
		db.function('f', () => { throw thrown; });
		const statement = db.prepare('SELECT f()');
		for (thrown of [new RangeError('mine'), 'text', 5, null, undefined]) throwsValue(() => statement.get(), thrown);
	});
});

describe('get(): while busy', () => {
	it('is allowed for other statements while an iterator is open', () => {
		const db = filled(memory());
		const iterator = db.prepare('SELECT i FROM entries').iterate();
		iterator.next();
		assert.equal(db.prepare('SELECT count(*) FROM entries').pluck().get(), 3);
		iterator.return();
	});

	it('is refused for the statement that is iterated', () => {
		const statement = filled(memory()).prepare('SELECT * FROM entries');
		const iterator = statement.iterate();
		throws(() => statement.get(), TypeError, STATEMENT_BUSY);
		iterator.return();
		assert.equal(statement.get().i, 1);
	});

	it('is refused inside a user function', () => {
		const db = memory();
		const inner = db.prepare('SELECT 1');
		db.function('f', () => { inner.get(); });
		throws(() => db.prepare('SELECT f()').get(), TypeError, BUSY);
		assert.deepEqual(inner.get(), { 1: 1 });
	});
});
