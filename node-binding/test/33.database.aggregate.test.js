'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { memory, filled, throws, throwsSqlite, throwsValue, BUSY } = require('./support');

const one = (db, sql, ...parameters) => db.prepare(sql).pluck().get(...parameters);
const withLength = (length) => Object.defineProperty(() => 1, 'length', { value: length });
const step = (total, x) => total + x;
const numbers = (count = 5) => filled(memory(), count);

describe('aggregate(): arguments', () => {
	it('returns the database', () => {
		const db = memory();
		assert.equal(db.aggregate('f', { step }), db);
	});

	for (const [title, parameters, message] of [
		['nothing', [], 'Expected first argument to be a string'],
		['a name that is a number', [5, { step }], 'Expected first argument to be a string'],
		['a name alone', ['f'], 'Expected second argument to be an options object'],
		['null for the options', ['f', null], 'Expected second argument to be an options object'],
		['a function for the options', ['f', step], 'Expected second argument to be an options object'],
		['a number for the options', ['f', 5], 'Expected second argument to be an options object'],
		['an empty name', ['', { step }], 'User-defined function name cannot be an empty string'],
		['options without a step', ['f', {}], 'Missing required option "step"'],
		['a step that is null', ['f', { step: null }], 'Missing required option "step"'],
		['a step that is undefined', ['f', { step: undefined }], 'Missing required option "step"'],
		['a step that is no function', ['f', { step: 5 }], 'Expected the "step" option to be a function'],
		['an inverse that is no function', ['f', { step, inverse: {} }], 'Expected the "inverse" option to be a function'],
		['a result that is no function', ['f', { step, result: 'x' }], 'Expected the "result" option to be a function'],
		['a step that is false', ['f', { step: false }], 'Expected the "step" option to be a function'],
	]) {
		it(`refuses ${title}`, () => throws(() => memory().aggregate(...parameters), TypeError, message));
	}

	it('takes null and undefined for no inverse and no result', () => {
		const db = numbers();
		db.aggregate('f', { start: 0, step, inverse: null, result: undefined });
		assert.equal(one(db, 'SELECT f(i) FROM entries'), 15);
	});

	for (const option of ['varargs', 'deterministic', 'directOnly', 'safeIntegers']) {
		it(`wants a boolean for "${option}"`, () => {
			for (const value of [undefined, null, 1, 'true']) throws(() => memory().aggregate('f', { step, [option]: value }), TypeError, `Expected the "${option}" option to be a boolean`);
		});
	}

	for (const length of [-1, 1.5, NaN, Infinity, '2']) {
		it(`refuses a step or an inverse whose length is ${typeof length} ${length}`, () => {
			throws(() => memory().aggregate('f', { step: withLength(length) }), TypeError, 'Expected function.length to be a positive integer');
			throws(() => memory().aggregate('f', { step, inverse: withLength(length) }), TypeError, 'Expected function.length to be a positive integer');
		});
	}

	it('refuses more than 100 arguments beside the total', () => {
		throws(() => memory().aggregate('f', { step: withLength(102) }), RangeError, 'User-defined functions cannot have more than 100 arguments');
		throws(() => memory().aggregate('f', { step, inverse: withLength(102) }), RangeError, 'User-defined functions cannot have more than 100 arguments');
		assert.equal(memory().aggregate('f', { step: withLength(101) }).open, true);
		assert.equal(memory().aggregate('f', { step: withLength(200), varargs: true }).open, true);
	});
});

describe('aggregate(): start, step and result', () => {
	it('adds up, beginning with start', () => {
		const db = numbers();
		db.aggregate('add_all', { start: 100, step });
		assert.equal(one(db, 'SELECT add_all(i) FROM entries'), 115);
		assert.equal(one(db, 'SELECT add_all(i) FROM entries WHERE i > 3'), 109);
	});

	it('begins with null when there is no start', () => {
		const db = numbers();
		const seen = [];
		db.aggregate('f', { step: (total, x) => { seen.push(total); return x; } });
		assert.equal(one(db, 'SELECT f(i) FROM entries WHERE i < 3'), 2);
		assert.deepEqual(seen, [null, 1]);
	});

	it('takes undefined for a start as it is', () => {
		const db = numbers(1);
		db.aggregate('f', { start: undefined, step: (total, x) => String(total) });
		assert.equal(one(db, 'SELECT f(i) FROM entries'), 'undefined');
	});

	it('calls a start that is a function once for every aggregate', () => {
		const db = numbers(4);
		let calls = 0;
		db.aggregate('list', { start: () => { calls += 1; return []; }, step: (list, x) => { list.push(x); }, result: (list) => list.join() });
		assert.deepEqual(db.prepare('SELECT list(i) FROM entries GROUP BY i % 2 ORDER BY i % 2').pluck().all(), ['2,4', '1,3']);
		assert.equal(calls, 2);
		assert.deepEqual(db.prepare('SELECT list(i), list(t) FROM entries').raw().get(), ['1,2,3,4', 'text 1,text 2,text 3,text 4']);
		assert.equal(calls, 4);
	});

	it('uses a start that is an object, and no function, for every aggregate', () => {
		const db = numbers(2);
		db.aggregate('list', { start: [], step: (list, x) => { list.push(x); }, result: (list) => list.length });
		assert.equal(one(db, 'SELECT list(i) FROM entries'), 2);
		assert.equal(one(db, 'SELECT list(i) FROM entries'), 4);
	});

	it('keeps the total when the step returns undefined, and takes null', () => {
		const db = numbers();
		db.aggregate('f', { start: 'kept', step: (total, x) => undefined });
		db.aggregate('g', { start: 'lost', step: (total, x) => null });
		assert.deepEqual(db.prepare('SELECT f(i), g(i) FROM entries').raw().get(), ['kept', null]);
	});

	it('gives the start, through result, when there is no row', () => {
		const db = memory('CREATE TABLE a (b)');
		db.aggregate('f', { start: 7, step }).aggregate('g', { start: () => 7, step, result: (x) => x * 2 }).aggregate('h', { step });
		assert.deepEqual(db.prepare('SELECT f(b), g(b), h(b) FROM a').raw().get(), [7, 14, null]);
		assert.deepEqual(db.prepare('SELECT f(b) FROM a GROUP BY b').all(), []);
	});

	it('passes the total through result', () => {
		const db = numbers();
		db.aggregate('average', { start: () => [], step: (list, x) => { list.push(x); }, result: (list) => list.reduce((a, b) => a + b, 0) / list.length });
		assert.equal(one(db, 'SELECT average(i) FROM entries'), 3);
	});

	it('takes what result returns, also undefined and null', () => {
		const db = numbers();
		db.aggregate('f', { start: 5, step: (total, x) => {}, result: () => undefined });
		assert.equal(one(db, 'SELECT f(i) FROM entries'), null);
	});

	it('calls everything with undefined for this', () => {
		const db = numbers(1);
		const seen = [];
		db.aggregate('f', {
			start() { seen.push(this); return 0; },
			step(total, x) { seen.push(this); return total + x; },
			result(total) { seen.push(this); return total; },
		});
		one(db, 'SELECT f(i) FROM entries');
		assert.deepEqual(seen, [undefined, undefined, undefined]);
	});

	it('takes as many arguments as the step has parameters beside the total', () => {
		const db = numbers();
		db.aggregate('f', { start: 0, step: (total, a, b) => total + a * b });
		assert.equal(one(db, 'SELECT f(i, 2) FROM entries'), 30);
		throwsSqlite(() => db.prepare('SELECT f(i) FROM entries'), 'SQLITE_ERROR', 'wrong number of arguments to function f()');
	});

	it('takes no argument when the step has at most one parameter', () => {
		const db = numbers();
		db.aggregate('rows1', { start: 0, step: (total) => total + 1 });
		db.aggregate('rows0', { start: 0, step: () => 9 });
		assert.deepEqual(db.prepare('SELECT rows1(), rows0() FROM entries').raw().get(), [5, 9]);
	});

	it('takes any number of arguments with varargs', () => {
		const db = numbers(2);
		db.aggregate('f', { varargs: true, start: 0, step: (total, ...all) => total + all.length });
		assert.deepEqual(db.prepare('SELECT f(), f(i), f(i, i, i, i, i, i) FROM entries').raw().get(), [0, 2, 12]);
	});

	it('tells aggregates of one name apart by their number of arguments, and from functions', () => {
		const db = numbers(2);
		db.aggregate('f', { start: 0, step: (total, a) => total + a }).aggregate('f', { start: 0, step: (total, a, b) => total + a * b });
		db.function('f', () => 'function');
		assert.deepEqual(db.prepare('SELECT f(i), f(i, 10), f() FROM entries').raw().get(), [3, 30, 'function']);
	});

	it('works with DISTINCT, FILTER, ORDER BY and HAVING', () => {
		const db = memory('CREATE TABLE a (b); INSERT INTO a VALUES (3), (1), (2), (1)');
		db.aggregate('list', { start: () => [], step: (list, x) => { list.push(x); }, result: (list) => list.join() });
		assert.equal(one(db, 'SELECT list(DISTINCT b) FROM a'), '3,1,2');
		assert.equal(one(db, 'SELECT list(b) FILTER (WHERE b > 1) FROM a'), '3,2');
		assert.equal(one(db, 'SELECT list(b ORDER BY b DESC) FROM a'), '3,2,1,1');
		assert.deepEqual(db.prepare("SELECT b FROM a GROUP BY b HAVING list(b) = '1,1'").pluck().all(), [1]);
	});

	it('passes on every kind of value', () => {
		const db = memory();
		const seen = [];
		db.aggregate('see', { step: (total, x) => { seen.push(x); } });
		db.prepare("SELECT see(column1) FROM (VALUES (1), (1.5), ('x'), (x'00'), (NULL))").get();
		assert.deepEqual(seen, [1, 1.5, 'x', Buffer.from([0]), null]);
	});

	it('keeps any JavaScript value for a total, as long as the result is one of SQLite', () => {
		const db = numbers(3);
		for (const start of [true, Symbol('x'), {}, () => new Map(), () => () => 1, () => Promise.resolve()]) {
			db.aggregate('f', { start, step: (total, x) => {}, result: (total) => typeof total });
			assert.equal(one(db, 'SELECT f(i) FROM entries'), typeof (typeof start === 'function' ? start() : start));
		}
	});

	for (const [title, value] of [['true', true], ['an object', {}], ['a symbol', Symbol('x')], ['an array', []]]) {
		it(`refuses ${title} for a result`, () => {
			const db = numbers(1);
			db.aggregate('Total', { start: value, step: (total, x) => {} });
			throws(() => db.prepare('SELECT total(i) FROM entries').get(), TypeError, 'User-defined function Total() returned an invalid value');
			db.aggregate('g', { step: (total, x) => {}, result: () => value });
			throws(() => db.prepare('SELECT g(i) FROM entries').get(), TypeError, 'User-defined function g() returned an invalid value');
		});
	}

	it('refuses a bigint that is no int64 for a result', () => {
		const db = numbers(1);
		db.aggregate('f', { start: 2n ** 63n, step: (total, x) => {} });
		throws(() => db.prepare('SELECT f(i) FROM entries').get(), RangeError, 'User-defined function f() returned a bigint that was too big');
	});

	it('keeps the aggregates of nested and parallel queries apart', () => {
		const db = numbers(3);
		db.aggregate('add_all', { start: 0, step });
		assert.equal(one(db, 'SELECT add_all(x) FROM (SELECT add_all(i) AS x FROM entries GROUP BY i)'), 6);
		const a = db.prepare('SELECT add_all(i) FROM entries GROUP BY i').pluck().iterate();
		const b = db.prepare('SELECT add_all(i * 10) FROM entries GROUP BY i').pluck().iterate();
		assert.deepEqual([a.next().value, b.next().value, a.next().value, b.next().value], [1, 10, 2, 20]);
		a.return();
		b.return();
	});

	it('runs again from the start every time', () => {
		const db = numbers(3);
		db.aggregate('add_all', { start: 0, step });
		const statement = db.prepare('SELECT add_all(i) FROM entries').pluck();
		for (let i = 0; i < 100; ++i) assert.equal(statement.get(), 6);
	});
});

describe('aggregate(): windows', () => {
	it('needs an inverse to be a window function', () => {
		const db = numbers();
		db.aggregate('f', { start: 0, step });
		throwsSqlite(() => db.prepare('SELECT f(i) OVER () FROM entries'), 'SQLITE_ERROR', 'f() may not be used as a window function');
	});

	it('adds with step and takes away with inverse', () => {
		const db = numbers();
		const calls = [];
		db.aggregate('f', {
			start: 0,
			step: (total, x) => { calls.push(`+${x}`); return total + x; },
			inverse: (total, x) => { calls.push(`-${x}`); return total - x; },
		});
		assert.deepEqual(db.prepare('SELECT f(i) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM entries').pluck().all(), [1, 3, 5, 7, 9]);
		assert.deepEqual([...calls].sort(), ['+1', '+2', '+3', '+4', '+5', '-1', '-2', '-3']);
		assert.equal(one(db, 'SELECT f(i) FROM entries'), 15);
	});

	it('calls result for every row and keeps the total', () => {
		const db = numbers(3);
		let calls = 0;
		db.aggregate('f', { start: 0, step, inverse: (total, x) => total - x, result: (total) => { calls += 1; return `=${total}`; } });
		assert.deepEqual(db.prepare('SELECT f(i) OVER (ORDER BY i) FROM entries').pluck().all(), ['=1', '=3', '=6']);
		assert.equal(calls, 3);
	});

	it('starts anew for every partition', () => {
		const db = numbers(4);
		let starts = 0;
		db.aggregate('f', { start: () => { starts += 1; return 0; }, step, inverse: (total, x) => total - x });
		assert.deepEqual(db.prepare('SELECT f(i) OVER (PARTITION BY i % 2) FROM entries ORDER BY i').pluck().all(), [4, 6, 4, 6]);
		assert.equal(starts, 2);
	});

	it('keeps the total when the inverse returns undefined', () => {
		const db = numbers(4);
		db.aggregate('list', { start: () => [], step: (list, x) => { list.push(x); }, inverse: (list) => { list.shift(); }, result: (list) => list.join() });
		assert.deepEqual(db.prepare('SELECT list(i) OVER (ORDER BY i ROWS 1 PRECEDING) FROM entries').pluck().all(), ['1', '1,2', '2,3', '3,4']);
	});

	it('counts the parameters of the inverse too', () => {
		const db = numbers();
		db.aggregate('f', { start: 0, step: (total, a) => total + a, inverse: (total, a, b) => total - a - b });
		throwsSqlite(() => db.prepare('SELECT f(i) FROM entries'), 'SQLITE_ERROR', 'wrong number of arguments to function f()');
		assert.equal(one(db, 'SELECT f(i, 1) FROM entries'), 15);
	});

	it('runs over an empty frame', () => {
		const db = numbers(2);
		db.aggregate('f', { start: 'none', step: (total, x) => 'some', inverse: (total, x) => 'none' });
		assert.deepEqual(db.prepare('SELECT f(i) OVER (ORDER BY i ROWS BETWEEN 2 FOLLOWING AND 3 FOLLOWING) FROM entries').pluck().all(), ['none', 'none']);
	});
});

describe('aggregate(): options', () => {
	it('cannot be used from a schema when directOnly', () => {
		const db = numbers();
		db.aggregate('f', { start: 0, step, directOnly: true });
		assert.equal(one(db, 'SELECT f(i) FROM entries'), 15);
		db.exec('CREATE VIEW v AS SELECT f(i) AS x FROM entries');
		throwsSqlite(() => db.prepare('SELECT * FROM v').get(), 'SQLITE_ERROR', 'unsafe use of f()');
	});

	it('may be deterministic', () => {
		const db = numbers();
		db.aggregate('f', { start: 0, step, deterministic: true });
		assert.equal(one(db, 'SELECT f(i) FROM entries'), 15);
	});
});

describe('aggregate(): exceptions', () => {
	const good = { start: () => 0, step: (total, x) => total + x, inverse: (total, x) => total - x, result: (total) => total };
	for (const part of ['start', 'step', 'inverse', 'result']) {
		for (const [title, value] of [['an error', new RangeError('mine')], ['null', null], ['undefined', undefined], ['a string', 'text']]) {
			it(`passes on ${title} thrown by ${part}`, () => {
				const db = numbers();
				let broken = true;
				db.aggregate('f', { ...good, [part]: (total, x) => { if (broken) throw value; return good[part](total, x); } });
				const window = db.prepare('SELECT f(i) OVER (ORDER BY i ROWS 1 PRECEDING) FROM entries').pluck();
				throwsValue(() => window.all(), value);
				throwsValue(() => [...window.iterate()], value);
				// run() stops at the first row, before anything leaves the window.
				if (part !== 'inverse') {
					throwsValue(() => window.run(), value);
					throwsValue(() => db.prepare('SELECT f(i) FROM entries').get(), value);
					throwsValue(() => db.prepare('SELECT f(i) FROM entries GROUP BY i').all(), value);
					throwsValue(() => db.exec('SELECT f(i) FROM entries'), value);
				}
				broken = false;
				assert.deepEqual(window.all(), [1, 3, 5, 7, 9]);
				assert.equal(one(db, 'SELECT f(i) FROM entries'), 15);
			});
		}
	}

	it('stops at a step in the middle and calls no result', () => {
		const db = numbers();
		const calls = [];
		db.aggregate('f', {
			start: 0,
			step: (total, x) => { calls.push(x); if (x === 3) throw new Error('mine'); return x; },
			result: () => { calls.push('result'); return 0; },
		});
		throws(() => db.prepare('SELECT f(i) FROM entries').get(), Error, 'mine');
		assert.deepEqual(calls, [1, 2, 3]);
	});

	it('leaves the database free for the next statement', () => {
		const db = numbers();
		db.aggregate('f', { step: (total, x) => { throw new Error('mine'); } });
		for (let i = 0; i < 50; ++i) throws(() => db.prepare('SELECT f(i) FROM entries').get(), Error, 'mine');
		assert.equal(one(db, 'SELECT count(*) FROM entries'), 5);
		db.close();
	});
});

describe('aggregate(): while busy', () => {
	it('cannot be registered while an iterator is open, even in unsafe mode', () => {
		const db = numbers().unsafeMode();
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		throws(() => db.aggregate('f', { step }), TypeError, BUSY);
		iterator.return();
		db.aggregate('f', { step });
	});

	it('finds the database busy in each of its parts', () => {
		const db = numbers(2);
		const touch = () => { throws(() => db.exec('SELECT 1'), TypeError, BUSY); throws(() => db.prepare('SELECT 1'), TypeError, BUSY); return 0; };
		db.aggregate('f', { start: touch, step: () => touch(), inverse: () => touch(), result: touch });
		assert.deepEqual(db.prepare('SELECT f() OVER (ORDER BY i ROWS 0 PRECEDING) FROM entries').pluck().all(), [0, 0]);
		db.exec('SELECT 1');
	});
});
