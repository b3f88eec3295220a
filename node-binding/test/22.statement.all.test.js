'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { memory, filled, throws, throwsSqlite, throwsValue, BUSY, STATEMENT_BUSY } = require('./support');

describe('all(): rows', () => {
	it('returns every row, in order, as plain objects', () => {
		const rows = filled(memory(), 4).prepare('SELECT * FROM entries ORDER BY i DESC').all();
		assert.ok(Array.isArray(rows));
		assert.deepEqual(rows, [4, 3, 2, 1].map((i) => ({ t: `text ${i}`, i, r: i + 0.25, b: Buffer.from([i, 0, 255]), n: null })));
		for (const row of rows) assert.equal(Object.getPrototypeOf(row), Object.prototype);
	});

	it('returns an empty array when there is no row', () => {
		const db = memory('CREATE TABLE a (b)');
		assert.deepEqual(db.prepare('SELECT * FROM a').all(), []);
		assert.deepEqual(db.prepare('SELECT * FROM a').pluck().all(), []);
		assert.deepEqual(db.prepare('SELECT * FROM a').raw().all(), []);
		assert.deepEqual(db.prepare('SELECT * FROM a').expand().all(), []);
	});

	it('makes independent objects and arrays every time', () => {
		const statement = memory().prepare('VALUES (1), (1)');
		const first = statement.all();
		const second = statement.all();
		assert.notEqual(first, second);
		assert.notEqual(first[0], first[1]);
		first[0].column1 = 'changed';
		assert.deepEqual(second, [{ column1: 1 }, { column1: 1 }]);
		assert.deepEqual(statement.all(), [{ column1: 1 }, { column1: 1 }]);
	});

	for (const count of [1, 2, 63, 64, 65, 127, 128, 129, 1000, 10000]) {
		it(`returns ${count} rows complete and in order`, () => {
			const db = memory();
			const rows = db.prepare("WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c WHERE x < ?) SELECT x, 't' || x AS t FROM c").all(count);
			assert.equal(rows.length, count);
			for (let i = 0; i < count; ++i) {
				assert.equal(rows[i].x, i + 1);
				assert.equal(rows[i].t, `t${i + 1}`);
			}
		});
	}

	it('returns values of different kinds in one column', () => {
		const rows = memory().prepare("VALUES (1), (2.5), ('x'), (x'00ff'), (NULL), (9007199254740993)").pluck().all();
		assert.deepEqual(rows, [1, 2.5, 'x', Buffer.from([0, 255]), null, 9007199254740992]);
	});

	it('gives every row buffers of its own', () => {
		const [one, two] = memory().prepare("VALUES (x'0102'), (x'0304')").pluck().all();
		one.fill(9);
		assert.deepEqual([...one], [9, 9]);
		assert.deepEqual([...two], [3, 4]);
	});

	it('keeps the last value of columns with one name', () => {
		assert.deepEqual(memory().prepare('SELECT column1 AS a, column2 AS a FROM (VALUES (1, 2), (3, 4))').all(), [{ a: 2 }, { a: 4 }]);
	});

	it('survives a column named __proto__', () => {
		// As in get(): the property itself depends on Node's version in the original.
		const rows = memory().prepare("SELECT column1 AS a, column2 AS \"__proto__\" FROM (VALUES (1, 'x'), (2, 'y'))").all();
		assert.deepEqual(rows.map((row) => row.a), [1, 2]);
		for (const row of rows) assert.equal(Object.getPrototypeOf(row), Object.prototype);
	});

	it('returns the rows of INSERT, UPDATE and DELETE ... RETURNING', () => {
		const db = memory('CREATE TABLE a (id INTEGER PRIMARY KEY, b)');
		assert.deepEqual(db.prepare('INSERT INTO a (b) VALUES (?), (?) RETURNING *').all('x', 'y'), [{ id: 1, b: 'x' }, { id: 2, b: 'y' }]);
		assert.deepEqual(db.prepare('UPDATE a SET b = b || id RETURNING b').all(), [{ b: 'x1' }, { b: 'y2' }]);
		assert.deepEqual(db.prepare('DELETE FROM a RETURNING id').pluck().all(), [1, 2]);
	});

	it('can run again at once with other parameters', () => {
		const db = filled(memory());
		const statement = db.prepare('SELECT t FROM entries WHERE i >= ?').pluck();
		assert.deepEqual(statement.all(3), ['text 3']);
		assert.deepEqual(statement.all(4), []);
		assert.deepEqual(statement.all(1), ['text 1', 'text 2', 'text 3']);
	});

	it('returns rows of many columns', () => {
		const names = Array.from({ length: 500 }, (_, i) => `c${i}`);
		const rows = memory().prepare(`SELECT ${names.map((name, i) => `value * ${i} AS ${name}`)} FROM json_each(?)`).all('[1, 2]');
		assert.deepEqual(Object.values(rows[1]), names.map((_, i) => 2 * i));
	});
});

describe('all(): refusals and errors', () => {
	for (const sql of ['INSERT INTO a VALUES (1)', 'CREATE TABLE c (d)', 'BEGIN']) {
		it(`refuses ${sql}`, () => {
			const db = memory('CREATE TABLE a (b)');
			throws(() => db.prepare(sql).all(), TypeError, 'This statement does not return data. Use run() instead');
		});
	}

	it('throws what goes wrong at a later row and returns nothing', () => {
		const db = memory("CREATE TABLE a (b); INSERT INTO a VALUES (1), (2), (-9223372036854775808), (4)");
		const statement = db.prepare('SELECT abs(b) FROM a WHERE b <> ?').pluck();
		throwsSqlite(() => statement.all(0), 'SQLITE_ERROR', 'integer overflow');
		assert.deepEqual(statement.all(-9223372036854775808n), [1, 2, 4]);
	});

	it('throws exactly what a user function threw at a later row', () => {
		const db = filled(memory());
		let thrown;
		db.function('f', (x) => { if (x === 3) throw thrown; return x; });
		const statement = db.prepare('SELECT f(i) FROM entries');
		for (thrown of [new Error('mine'), 'text', null, undefined]) throwsValue(() => statement.all(), thrown);
		db.exec('DELETE FROM entries WHERE i = 3');
		assert.equal(statement.all().length, 2);
	});
});

describe('all(): while busy', () => {
	it('is allowed for other statements while an iterator is open', () => {
		const db = filled(memory());
		for (const row of db.prepare('SELECT i FROM entries').iterate()) {
			assert.equal(db.prepare('SELECT i FROM entries').all().length, 3);
			assert.ok(row.i);
		}
	});

	it('is refused for the statement that is iterated', () => {
		const statement = filled(memory()).prepare('SELECT * FROM entries');
		const iterator = statement.iterate();
		iterator.next();
		throws(() => statement.all(), TypeError, STATEMENT_BUSY);
		iterator.return();
		assert.equal(statement.all().length, 3);
	});

	it('is refused inside a user function', () => {
		const db = memory();
		const inner = db.prepare('SELECT 1');
		db.function('f', () => { inner.all(); });
		throws(() => db.prepare('SELECT f()').all(), TypeError, BUSY);
		assert.deepEqual(inner.all(), [{ 1: 1 }]);
	});
});
