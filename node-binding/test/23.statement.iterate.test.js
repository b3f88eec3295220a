'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { memory, filled, throws, throwsSqlite, throwsValue, BUSY, STATEMENT_BUSY } = require('./support');

const DONE = { value: undefined, done: true };

describe('iterate(): the iterator', () => {
	it('is an iterator and iterable, without throw()', () => {
		const statement = filled(memory()).prepare('SELECT * FROM entries');
		const iterator = statement.iterate();
		assert.equal(typeof iterator.next, 'function');
		assert.equal(typeof iterator.return, 'function');
		assert.equal(iterator.throw, undefined);
		assert.equal(iterator[Symbol.iterator](), iterator);
		assert.equal(iterator.constructor.name, 'StatementIterator');
		iterator.return();
	});

	it('shows its statement, which cannot be changed', () => {
		const statement = filled(memory()).prepare('SELECT * FROM entries');
		const iterator = statement.iterate();
		assert.deepEqual(Object.keys(iterator), ['statement']);
		assert.equal(iterator.statement, statement);
		assert.throws(() => { iterator.statement = 1; }, TypeError);
		iterator.return();
	});

	it('cannot be made with its constructor', () => {
		const iterator = memory().prepare('SELECT 1').iterate();
		throws(() => new iterator.constructor(), TypeError, 'Disabled constructor');
		iterator.return();
	});

	it('refuses its methods on something else', () => {
		const iterator = memory().prepare('SELECT 1').iterate();
		for (const method of ['next', 'return']) assert.throws(() => iterator[method].call({}), TypeError, method);
		iterator.return();
	});

	it('yields the rows one by one', () => {
		const iterator = filled(memory()).prepare('SELECT i, t FROM entries').iterate();
		assert.deepEqual(iterator.next(), { value: { i: 1, t: 'text 1' }, done: false });
		assert.deepEqual(iterator.next(), { value: { i: 2, t: 'text 2' }, done: false });
		assert.deepEqual(iterator.next(), { value: { i: 3, t: 'text 3' }, done: false });
		assert.deepEqual(iterator.next(), DONE);
		assert.deepEqual(iterator.next(), DONE);
	});

	it('gives the record of a step the keys value and done, and nothing else', () => {
		const iterator = memory().prepare('SELECT 1').pluck().iterate();
		const record = iterator.next();
		assert.deepEqual(Object.keys(record).sort(), ['done', 'value']);
		assert.equal(Object.getPrototypeOf(record), Object.prototype);
		assert.deepEqual(Object.keys(iterator.next()).sort(), ['done', 'value']);
	});

	it('is done at once when there is no row', () => {
		assert.deepEqual(memory('CREATE TABLE a (b)').prepare('SELECT * FROM a').iterate().next(), DONE);
	});

	it('works with for-of, spread, destructuring and Array.from', () => {
		const statement = filled(memory()).prepare('SELECT i FROM entries').pluck();
		const seen = [];
		for (const i of statement.iterate()) seen.push(i);
		assert.deepEqual(seen, [1, 2, 3]);
		assert.deepEqual([...statement.iterate()], [1, 2, 3]);
		assert.deepEqual(Array.from(statement.iterate(), (i) => i * 2), [2, 4, 6]);
		const [first] = statement.iterate();
		assert.equal(first, 1);
		assert.equal(statement.busy, false);
	});

	it('works with for-await, and keeps the database busy over the waits', async () => {
		const db = filled(memory());
		const seen = [];
		for await (const i of db.prepare('SELECT i FROM entries').pluck().iterate()) {
			seen.push(i);
			await null;
			throws(() => db.exec('SELECT 1'), TypeError, BUSY);
		}
		assert.deepEqual(seen, [1, 2, 3]);
		db.exec('DROP TABLE entries');
	});

	it('does not run anything before the first next()', () => {
		const db = memory();
		let calls = 0;
		db.function('seen', (x) => { calls += 1; return x; });
		const iterator = db.prepare('SELECT seen(value) FROM json_each(?)').iterate('[1, 2]');
		assert.equal(calls, 0);
		iterator.next();
		assert.equal(calls, 1);
		iterator.next();
		assert.equal(calls, 2);
		iterator.return();
		assert.equal(calls, 2);
	});

	it('ignores arguments of next() and return()', () => {
		const iterator = filled(memory()).prepare('SELECT i FROM entries').pluck().iterate();
		assert.deepEqual(iterator.next('x'), { value: 1, done: false });
		assert.deepEqual(iterator.return('x'), DONE);
	});

	it('makes a new object for every row', () => {
		const rows = [...memory().prepare('VALUES (1), (1)').iterate()];
		assert.notEqual(rows[0], rows[1]);
	});

	it('yields many rows', () => {
		let sum = 0;
		for (const x of memory().prepare('WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c WHERE x < 100000) SELECT x FROM c').pluck().iterate()) sum += x;
		assert.equal(sum, 5000050000);
	});

	it('yields the rows of INSERT ... RETURNING', () => {
		const db = memory('CREATE TABLE a (b)');
		assert.deepEqual([...db.prepare('INSERT INTO a VALUES (1), (2) RETURNING b').pluck().iterate()], [1, 2]);
		assert.equal(db.prepare('SELECT count(*) FROM a').pluck().get(), 2);
	});

	it('follows pluck, raw and expand as they were when it was made', () => {
		const db = filled(memory());
		const statement = db.prepare('SELECT i, t FROM entries WHERE i = 1');
		assert.deepEqual([...statement.pluck().iterate()], [1]);
		assert.deepEqual([...statement.raw().iterate()], [[1, 'text 1']]);
		assert.deepEqual([...statement.expand().iterate()], [{ entries: { i: 1, t: 'text 1' } }]);
		assert.deepEqual([...statement.expand(false).safeIntegers().iterate()], [{ i: 1n, t: 'text 1' }]);
	});
});

describe('iterate(): ending early', () => {
	it('is closed by return(), once and again', () => {
		const db = filled(memory());
		const statement = db.prepare('SELECT * FROM entries');
		const iterator = statement.iterate();
		iterator.next();
		assert.equal(statement.busy, true);
		assert.deepEqual(iterator.return(), DONE);
		assert.equal(statement.busy, false);
		assert.deepEqual(iterator.return(), DONE);
		assert.deepEqual(iterator.next(), DONE);
		db.exec('DROP TABLE entries');
	});

	it('is closed by return() before the first row', () => {
		const db = filled(memory());
		assert.deepEqual(db.prepare('SELECT * FROM entries').iterate().return(), DONE);
		db.exec('DROP TABLE entries');
	});

	it('is closed by a break', () => {
		const db = filled(memory());
		for (const row of db.prepare('SELECT * FROM entries').iterate()) if (row.i === 2) break;
		db.exec('DROP TABLE entries');
	});

	it('is closed by a return out of the loop', () => {
		const db = filled(memory());
		const found = (() => {
			for (const row of db.prepare('SELECT * FROM entries').iterate()) if (row.i === 2) return row.t;
			return undefined;
		})();
		assert.equal(found, 'text 2');
		db.exec('DROP TABLE entries');
	});

	it('is closed by an exception in the loop, which passes through', () => {
		const db = filled(memory());
		const error = new Error('mine');
		throwsValue(() => {
			for (const row of db.prepare('SELECT * FROM entries').iterate()) if (row.i === 2) throw error;
		}, error);
		db.exec('DROP TABLE entries');
	});

	it('is closed when a generator around it is closed', () => {
		const db = filled(memory());
		const statement = db.prepare('SELECT i FROM entries').pluck();
		const generator = (function* around() { yield* statement.iterate(); })();
		assert.equal(generator.next().value, 1);
		assert.equal(statement.busy, true);
		generator.return();
		assert.equal(statement.busy, false);
	});

	it('can be repeated after every way of ending', () => {
		const statement = filled(memory()).prepare('SELECT i FROM entries').pluck();
		for (let round = 0; round < 100; ++round) {
			for (const i of statement.iterate()) if (i === (round % 3) + 1) break;
			assert.deepEqual([...statement.iterate()], [1, 2, 3]);
		}
	});
});

describe('iterate(): refusals and errors', () => {
	for (const sql of ['INSERT INTO a VALUES (1)', 'CREATE TABLE c (d)', 'BEGIN']) {
		it(`refuses ${sql}`, () => {
			const db = memory('CREATE TABLE a (b)');
			throws(() => db.prepare(sql).iterate(), TypeError, 'This statement does not return data. Use run() instead');
			db.close();
		});
	}

	it('checks the parameters at once and stays unlocked when they are wrong', () => {
		const db = memory();
		const statement = db.prepare('SELECT ?');
		throws(() => statement.iterate(), RangeError, 'Too few parameter values were provided');
		throws(() => statement.iterate(1, 2), RangeError, 'Too many parameter values were provided');
		throws(() => statement.iterate(true), TypeError, 'SQLite3 can only bind numbers, strings, bigints, buffers, and null');
		assert.equal(statement.busy, false);
		assert.deepEqual([...statement.pluck().iterate(5)], [5]);
		db.close();
	});

	it('throws what goes wrong at a row and is closed by it', () => {
		const db = memory('CREATE TABLE a (b); INSERT INTO a VALUES (1), (-9223372036854775808), (3)');
		const statement = db.prepare('SELECT abs(b) FROM a').pluck();
		const iterator = statement.iterate();
		assert.deepEqual(iterator.next(), { value: 1, done: false });
		throwsSqlite(() => iterator.next(), 'SQLITE_ERROR', 'integer overflow');
		assert.equal(statement.busy, false);
		assert.deepEqual(iterator.next(), DONE);
		assert.deepEqual(iterator.return(), DONE);
		db.exec('DROP TABLE a');
	});

	it('throws exactly what a user function threw and is closed by it', () => {
		const db = filled(memory());
		let thrown;
		db.function('f', (x) => { if (x === 2) throw thrown; return x; });
		const statement = db.prepare('SELECT f(i) FROM entries').pluck();
		for (thrown of [new Error('mine'), 'text', null, undefined]) {
			const iterator = statement.iterate();
			assert.equal(iterator.next().value, 1);
			throwsValue(() => iterator.next(), thrown);
			assert.deepEqual(iterator.next(), DONE);
		}
		db.close();
	});
});

describe('iterate(): while busy', () => {
	it('makes the statement busy from the call until the end', () => {
		const statement = filled(memory(), 1).prepare('SELECT * FROM entries');
		assert.equal(statement.busy, false);
		const iterator = statement.iterate();
		assert.equal(statement.busy, true);
		iterator.next();
		assert.equal(statement.busy, true);
		iterator.next();
		assert.equal(statement.busy, false);
	});

	it('does not make other statements busy', () => {
		const db = filled(memory());
		const other = db.prepare('SELECT * FROM entries');
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		assert.equal(other.busy, false);
		iterator.return();
	});

	it('is refused twice on one statement', () => {
		const statement = filled(memory()).prepare('SELECT * FROM entries');
		const iterator = statement.iterate();
		throws(() => statement.iterate(), TypeError, STATEMENT_BUSY);
		iterator.return();
		statement.iterate().return();
	});

	it('locks bind and the toggles of the statement', () => {
		const statement = filled(memory()).prepare('SELECT * FROM entries WHERE i > ?');
		const iterator = statement.iterate(0);
		for (const method of ['pluck', 'raw', 'expand', 'safeIntegers']) {
			throws(() => statement[method](), TypeError, STATEMENT_BUSY);
			throws(() => statement[method](false), TypeError, STATEMENT_BUSY);
		}
		throws(() => statement.bind(1), TypeError, STATEMENT_BUSY);
		throws(() => statement.run(1), TypeError, STATEMENT_BUSY);
		assert.equal(statement.columns().length, 5);
		iterator.return();
		assert.equal(statement.pluck().get(0), 'text 1');
	});

	it('allows iterators of several statements side by side', () => {
		const db = filled(memory());
		const outer = db.prepare('SELECT i FROM entries').pluck();
		const inner = db.prepare('SELECT i FROM entries WHERE i > ?').pluck();
		const pairs = [];
		for (const a of outer.iterate()) for (const b of inner.iterate(a)) pairs.push([a, b]);
		assert.deepEqual(pairs, [[1, 2], [1, 3], [2, 3]]);
		db.exec('DROP TABLE entries');
	});

	it('keeps the database busy until the last of several iterators ends', () => {
		const db = filled(memory());
		const one = db.prepare('SELECT * FROM entries').iterate();
		const two = db.prepare('SELECT * FROM entries').iterate();
		one.return();
		throws(() => db.exec('SELECT 1'), TypeError, BUSY);
		two.return();
		db.exec('SELECT 1');
	});

	it('is refused inside a user function of its own database', () => {
		const db = filled(memory());
		const inner = db.prepare('SELECT i FROM entries');
		db.function('start', () => { inner.iterate(); });
		throws(() => db.prepare('SELECT start()').get(), TypeError, BUSY);
		assert.equal(inner.busy, false);
	});

	it('goes on inside a user function of another database', () => {
		const iterator = filled(memory()).prepare('SELECT i FROM entries').pluck().iterate();
		const other = memory();
		other.function('advance', () => iterator.next().value);
		assert.deepEqual(other.prepare('SELECT advance() FROM (VALUES (1), (2))').pluck().all(), [1, 2]);
		iterator.return();
	});

	it('refuses next() and return() of an iterator inside a user function of its own database', () => {
		const db = filled(memory());
		let iterator;
		let method = 'next';
		db.function('touch', () => { iterator[method](); });
		const statement = db.prepare('SELECT touch()');
		iterator = db.prepare('SELECT * FROM entries').iterate();
		throws(() => statement.get(), TypeError, BUSY);
		method = 'return';
		throws(() => statement.get(), TypeError, BUSY);
		assert.equal(iterator.next().value.i, 1);
		iterator.return();
	});

	it('stays open when it is dropped, so that access to the database does not depend on garbage collection', () => {
		const db = filled(memory());
		(() => { db.prepare('SELECT * FROM entries').iterate().next(); })();
		throws(() => db.exec('SELECT 1'), TypeError, BUSY);
		throws(() => db.close(), TypeError, BUSY);
	});

	it('gives every row before the one that fails', () => {
		const db = memory();
		const iterator = db.prepare(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
			SELECT abs(-9223372036854775807 - (i >= 30)) * 0 + i FROM n`).pluck().iterate();
		for (let i = 1; i < 30; ++i) assert.deepEqual(iterator.next(), { value: i, done: false });
		throwsSqlite(() => iterator.next(), 'SQLITE_ERROR', 'integer overflow');
		assert.deepEqual(iterator.next(), { value: undefined, done: true });
		db.exec('SELECT 1');
	});
});
