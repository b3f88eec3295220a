'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { memory, filled, throws, BUSY, STATEMENT_BUSY } = require('./support');

const MAX = 9223372036854775807n;
const MIN = -9223372036854775808n;
const one = (db, sql, ...parameters) => db.prepare(sql).pluck().get(...parameters);

describe('bigints: binding', () => {
	for (const value of [0n, 1n, -1n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, MAX, MIN]) {
		it(`stores ${value} exactly`, () => {
			const db = memory('CREATE TABLE a (b)');
			db.prepare('INSERT INTO a VALUES (?)').run(value);
			assert.equal(one(db, 'SELECT CAST(b AS TEXT) FROM a'), String(value));
			assert.equal(one(db, 'SELECT typeof(b) FROM a'), 'integer');
			assert.equal(db.prepare('SELECT b FROM a').pluck().safeIntegers().get(), value);
			assert.equal(one(db, 'SELECT count(*) FROM a WHERE b = ?', value), 1);
		});
	}

	for (const value of [MAX + 1n, MIN - 1n, 2n ** 64n, -(2n ** 100n)]) {
		it(`refuses ${value}`, () => {
			const db = memory('CREATE TABLE a (b)');
			const insert = db.prepare('INSERT INTO a VALUES (?)');
			throws(() => insert.run(value), RangeError, 'The bound string, buffer, or bigint is too big');
			assert.equal(one(db, 'SELECT count(*) FROM a'), 0);
			assert.equal(insert.run(1n).changes, 1);
		});
	}

	it('stores numbers as REAL where the column has no type, and as INTEGER where it is one', () => {
		const db = memory('CREATE TABLE a (plain, typed INTEGER)');
		db.prepare('INSERT INTO a VALUES (?, ?)').run(5, 5);
		db.prepare('INSERT INTO a VALUES (?, ?)').run(5n, 5n);
		assert.deepEqual(db.prepare('SELECT typeof(plain), typeof(typed) FROM a').raw().all(), [['real', 'integer'], ['integer', 'integer']]);
	});
});

describe('bigints: safeIntegers() of a statement', () => {
	it('is off at first: large integers are rounded', () => {
		const db = memory();
		assert.equal(one(db, 'SELECT 9007199254740993'), 9007199254740992);
		assert.equal(one(db, 'SELECT 9223372036854775807'), 9223372036854775807);
		assert.equal(typeof one(db, 'SELECT 1'), 'number');
	});

	it('returns the statement and can be turned on and off', () => {
		const statement = memory().prepare('SELECT 5').pluck();
		assert.equal(statement.safeIntegers(), statement);
		assert.equal(statement.get(), 5n);
		assert.equal(statement.safeIntegers(false).get(), 5);
		assert.equal(statement.safeIntegers(true).get(), 5n);
		assert.equal(statement.safeIntegers().get(), 5n);
	});

	it('holds for every integer of every kind of row, and for nothing else', () => {
		const db = memory("CREATE TABLE a (i, r REAL, t, n); INSERT INTO a VALUES (1, 2, 'x', NULL)");
		const statement = db.prepare('SELECT *, 3 AS three, 1 = 1 AS yes, count(*) AS c FROM a').safeIntegers();
		const row = { i: 1n, r: 2, t: 'x', n: null, three: 3n, yes: 1n, c: 1n };
		assert.deepEqual(statement.get(), row);
		assert.deepEqual(statement.all(), [row]);
		assert.deepEqual([...statement.iterate()], [row]);
		assert.deepEqual(statement.raw().get(), Object.values(row));
		assert.deepEqual(statement.expand().get(), { a: { i: 1n, r: 2, t: 'x', n: null }, $: { three: 3n, yes: 1n, c: 1n } });
		assert.equal(statement.pluck().get(), 1n);
	});

	it('works for statements that return no data: lastInsertRowid is a bigint, changes is not', () => {
		const insert = memory('CREATE TABLE a (b)').prepare('INSERT INTO a VALUES (1)').safeIntegers();
		assert.deepEqual(insert.run(), { changes: 1, lastInsertRowid: 1n });
		assert.deepEqual(insert.safeIntegers(false).run(), { changes: 1, lastInsertRowid: 2 });
	});

	for (const value of [undefined, null, 0, 1, 'true', {}]) {
		it(`wants a boolean, not ${value === undefined ? 'undefined' : JSON.stringify(value)}`, () => {
			const statement = memory().prepare('SELECT 5').pluck();
			throws(() => statement.safeIntegers(value), TypeError, 'Expected first argument to be a boolean');
			assert.equal(statement.get(), 5);
		});
	}

	it('is refused while the statement is iterated and inside a user function', () => {
		const db = memory();
		const statement = db.prepare('SELECT 5');
		const iterator = statement.iterate();
		throws(() => statement.safeIntegers(), TypeError, STATEMENT_BUSY);
		iterator.return();
		db.function('f', () => { statement.safeIntegers(); });
		throws(() => db.prepare('SELECT f()').get(), TypeError, BUSY);
	});

	it('does not change the rows of an iterator of another statement', () => {
		const db = filled(memory());
		const iterator = db.prepare('SELECT i FROM entries').pluck().iterate();
		assert.equal(iterator.next().value, 1);
		db.defaultSafeIntegers();
		assert.equal(iterator.next().value, 2);
		iterator.return();
	});
});

describe('bigints: defaultSafeIntegers()', () => {
	it('returns the database and holds for statements prepared later', () => {
		const db = memory();
		const before = db.prepare('SELECT 5').pluck();
		assert.equal(db.defaultSafeIntegers(), db);
		assert.equal(before.get(), 5);
		assert.equal(one(db, 'SELECT 5'), 5n);
		db.defaultSafeIntegers(false);
		assert.equal(one(db, 'SELECT 5'), 5);
		db.defaultSafeIntegers(true);
		assert.equal(one(db, 'SELECT 5'), 5n);
	});

	it('can be overridden by a statement', () => {
		const db = memory().defaultSafeIntegers();
		assert.equal(db.prepare('SELECT 5').pluck().safeIntegers(false).get(), 5);
	});

	for (const value of [undefined, null, 0, 1, 'true', {}]) {
		it(`wants a boolean, not ${value === undefined ? 'undefined' : JSON.stringify(value)}`, () => {
			const db = memory();
			throws(() => db.defaultSafeIntegers(value), TypeError, 'Expected first argument to be a boolean');
			assert.equal(one(db, 'SELECT 5'), 5);
		});
	}

	it('can be set while an iterator is open', () => {
		const db = filled(memory());
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		db.defaultSafeIntegers();
		iterator.return();
	});

	it('belongs to one database', () => {
		memory().defaultSafeIntegers();
		assert.equal(one(memory(), 'SELECT 5'), 5);
	});

	it('does not change how transaction functions work', () => {
		const db = memory('CREATE TABLE a (b)').defaultSafeIntegers();
		assert.deepEqual(db.transaction(() => db.prepare('INSERT INTO a VALUES (1)').run())(), { changes: 1, lastInsertRowid: 1n });
	});
});

describe('bigints: user functions', () => {
	it('get numbers at first, and bigints with the option', () => {
		const db = memory();
		db.function('plain', (x) => typeof x).function('safe', { safeIntegers: true }, (x) => typeof x);
		assert.deepEqual(db.prepare('SELECT plain(5), safe(5), safe(5.0), plain(5.0)').raw().get(), ['number', 'bigint', 'number', 'number']);
		assert.equal(one(db, 'SELECT safe(?)', 10), 'number');
		assert.equal(one(db, 'SELECT safe(?)', 10n), 'bigint');
	});

	it('keep what the default was when they were registered', () => {
		const db = memory();
		db.function('before', (x) => typeof x);
		db.defaultSafeIntegers();
		db.function('after', (x) => typeof x).function('never', { safeIntegers: false }, (x) => typeof x);
		assert.deepEqual(db.prepare('SELECT before(5), after(5), never(5)').raw().get(), ['number', 'bigint', 'number']);
	});

	it('pass large integers through exactly', () => {
		const db = memory();
		db.function('same', { safeIntegers: true }, (x) => x);
		for (const value of [MAX, MIN, 2n ** 53n + 1n]) assert.equal(db.prepare('SELECT same(?)').pluck().safeIntegers().get(value), value);
	});
});

describe('bigints: aggregates', () => {
	it('get bigints with the option, in step and inverse', () => {
		const db = filled(memory());
		db.aggregate('add_ints', { safeIntegers: true, start: 0n, step: (total, x) => total + x, inverse: (total, x) => total - x });
		assert.equal(db.prepare('SELECT add_ints(i) FROM entries').pluck().safeIntegers().get(), 6n);
		assert.deepEqual(db.prepare('SELECT add_ints(i) OVER (ORDER BY i ROWS 1 PRECEDING) FROM entries').pluck().all(), [1, 3, 5]);
	});

	it('keep what the default was when they were registered', () => {
		const db = filled(memory(), 1);
		const step = (total, x) => typeof x;
		db.aggregate('before', { step });
		db.defaultSafeIntegers();
		db.aggregate('after', { step }).aggregate('never', { step, safeIntegers: false });
		assert.deepEqual(db.prepare('SELECT before(i), after(i), never(i) FROM entries').raw().get(), ['number', 'bigint', 'number']);
	});
});

describe('bigints: virtual tables', () => {
	it('yield them exactly', () => {
		const db = memory();
		db.table('t', { columns: ['a'], *rows() { yield [MAX]; yield [MIN]; } });
		assert.deepEqual(db.prepare('SELECT a FROM t').pluck().safeIntegers().all(), [MAX, MIN]);
	});

	it('count with them', () => {
		const db = memory();
		db.table('sequence', {
			safeIntegers: true, columns: ['value'], parameters: ['length', 'start'],
			*rows(length, start = 0n) { for (let n = start; n < start + length; ++n) yield { value: n }; },
		});
		assert.deepEqual(db.prepare('SELECT value FROM sequence(?, ?)').pluck().safeIntegers().all(2n, 2n ** 60n), [2n ** 60n, 2n ** 60n + 1n]);
	});
});
