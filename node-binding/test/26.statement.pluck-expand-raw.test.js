'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { memory, throws, BUSY } = require('./support');

const SQL = 'SELECT 1 AS a, 2 AS b';
const SHAPES = { pluck: 1, raw: [1, 2], expand: { $: { a: 1, b: 2 } } };
const FLAT = { a: 1, b: 2 };

// Every way of reading gives rows of one shape.
function reads(statement, row) {
	assert.deepEqual(statement.get(), row);
	assert.deepEqual(statement.all(), [row]);
	assert.deepEqual([...statement.iterate()], [row]);
}

for (const method of ['pluck', 'raw', 'expand']) {
	describe(`${method}()`, () => {
		it('returns the statement and applies to get, all and iterate', () => {
			const statement = memory().prepare(SQL);
			assert.equal(statement[method](), statement);
			reads(statement, SHAPES[method]);
		});

		it('can be turned on and off, and repeated', () => {
			const statement = memory().prepare(SQL);
			reads(statement[method](true), SHAPES[method]);
			reads(statement[method](true), SHAPES[method]);
			reads(statement[method](false), FLAT);
			reads(statement[method](false), FLAT);
			reads(statement[method](), SHAPES[method]);
		});

		for (const value of [undefined, null, 0, 1, 'true', {}]) {
			it(`wants a boolean, not ${value === undefined ? 'undefined' : JSON.stringify(value)}`, () => {
				const statement = memory().prepare(SQL);
				throws(() => statement[method](value), TypeError, 'Expected first argument to be a boolean');
				reads(statement, FLAT);
			});
		}

		it('is for statements that return data', () => {
			const db = memory('CREATE TABLE a (b)');
			const message = `The ${method}() method is only for statements that return data`;
			throws(() => db.prepare('INSERT INTO a VALUES (1)')[method](), TypeError, message);
			throws(() => db.prepare('BEGIN')[method](false), TypeError, message);
			throws(() => db.prepare('BEGIN')[method](5), TypeError, message);
		});

		it('is refused inside a user function', () => {
			const db = memory();
			const inner = db.prepare(SQL);
			db.function('f', () => { inner[method](); });
			throws(() => db.prepare('SELECT f()').get(), TypeError, BUSY);
			reads(inner, FLAT);
		});

		for (const other of ['pluck', 'raw', 'expand'].filter((name) => name !== method)) {
			it(`takes the place of ${other}(), which cannot turn it off`, () => {
				const statement = memory().prepare(SQL);
				reads(statement[other]()[method](), SHAPES[method]);
				reads(statement[other](false), SHAPES[method]);
				reads(statement[method](false), FLAT);
			});
		}
	});
}

describe('pluck(): values', () => {
	it('takes the first of several columns, whatever its kind', () => {
		const db = memory();
		for (const [sql, value] of [['1', 1], ["'x'", 'x'], ['NULL', null], ["x'00'", Buffer.from([0])], ['1.5', 1.5]]) {
			reads(db.prepare(`SELECT ${sql} AS a, 'other' AS b`).pluck(), value);
		}
	});

	it('tells a NULL from no row', () => {
		const db = memory('CREATE TABLE a (b)');
		const statement = db.prepare('SELECT b FROM a').pluck();
		assert.equal(statement.get(), undefined);
		db.exec('INSERT INTO a VALUES (NULL)');
		assert.equal(statement.get(), null);
	});
});

describe('raw(): rows', () => {
	it('keeps every column, also those with one name', () => {
		reads(memory().prepare('SELECT 1 AS a, 2 AS a, 3 AS "__proto__", NULL, x\'ff\'').raw(), [1, 2, 3, null, Buffer.from([255])]);
	});

	it('makes real arrays', () => {
		const row = memory().prepare(SQL).raw().get();
		assert.ok(Array.isArray(row));
		assert.equal(Object.getPrototypeOf(row), Array.prototype);
	});

	it('follows a change of the schema', () => {
		const db = memory('CREATE TABLE a (b); INSERT INTO a VALUES (1)');
		const statement = db.prepare('SELECT * FROM a').raw();
		reads(statement, [1]);
		db.exec('ALTER TABLE a ADD COLUMN c DEFAULT 5');
		reads(statement, [1, 5]);
	});
});

describe('expand(): rows', () => {
	it('groups columns by table, and expressions under $', () => {
		const db = memory("CREATE TABLE a (x, y); CREATE TABLE b (x, z); INSERT INTO a VALUES (1, 2); INSERT INTO b VALUES (1, 'z')");
		reads(db.prepare("SELECT *, a.y * 2 AS twice, 'text' FROM a JOIN b USING (x)").expand(), { a: { x: 1, y: 2 }, b: { z: 'z' }, $: { twice: 4, "'text'": 'text' } });
		reads(db.prepare('SELECT * FROM a JOIN b ON a.x = b.x').expand(), { a: { x: 1, y: 2 }, b: { x: 1, z: 'z' } });
	});

	it('goes by the name of the table and not by its alias', () => {
		const db = memory('CREATE TABLE a (x); INSERT INTO a VALUES (1)');
		reads(db.prepare('SELECT p.x AS one, q.x AS two FROM a AS p, a AS q').expand(), { a: { one: 1, two: 1 } });
	});

	it('goes by the table behind a view', () => {
		const db = memory('CREATE TABLE a (x); INSERT INTO a VALUES (1); CREATE VIEW v AS SELECT x AS vx, x + 1 AS next FROM a');
		reads(db.prepare('SELECT * FROM v').expand(), { a: { vx: 1 }, $: { next: 2 } });
	});

	it('keeps the last of columns with one name in one table', () => {
		reads(memory().prepare('SELECT 1 AS a, 2 AS a').expand(), { $: { a: 2 } });
	});

	it('takes any name for a table', () => {
		const db = memory('CREATE TABLE "constructor" (x); CREATE TABLE "with space" (y); INSERT INTO "constructor" VALUES (1); INSERT INTO "with space" VALUES (2)');
		const row = db.prepare('SELECT * FROM "constructor", "with space"').expand().get();
		assert.deepEqual(Object.entries(row), [['constructor', { x: 1 }], ['with space', { y: 2 }]]);
	});
});

describe('the toggles together', () => {
	it('leave safeIntegers alone', () => {
		const statement = memory().prepare(SQL).safeIntegers();
		reads(statement.pluck(), 1n);
		reads(statement.raw(), [1n, 2n]);
		reads(statement.expand(), { $: { a: 1n, b: 2n } });
		reads(statement.expand(false), { a: 1n, b: 2n });
	});

	it('can be chained on the way to a result', () => {
		assert.equal(memory().prepare('SELECT ?').pluck().bind(5).get(), 5);
		assert.deepEqual(memory().prepare('SELECT ?').safeIntegers().raw().all(5n), [[5n]]);
	});

	it('belong to one statement', () => {
		const db = memory();
		const one = db.prepare(SQL).pluck();
		const two = db.prepare(SQL);
		reads(one, 1);
		reads(two, FLAT);
	});
});
