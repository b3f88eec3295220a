'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { memory, letters, row, get, throws, throwsType, throwsRange, throwsState, throwsSqlite } = require('./node-sqlite-support');

const withLength = (length) => Object.defineProperty(() => 1, 'length', { value: length });
const failure = new Error('thrown');
const isFailure = (error) => error === failure;

describe('function()', () => {
	it('makes a function of SQL and returns nothing', () => {
		const db = memory();
		assert.equal(db.function('twice', (n) => n * 2), undefined);
		assert.equal(get(db, 'SELECT twice(21) AS n').n, 42);
		db.function('größe', {}, () => 'g');
		assert.equal(get(db, 'SELECT größe() AS g').g, 'g');
	});

	it('checks its arguments', () => {
		const db = memory();
		for (const name of [undefined, null, 5, () => 1]) throwsType(() => db.function(name, () => 1), 'The "name" argument must be a string.');
		throwsType(() => db.function('f'), 'The "function" argument must be a function.');
		throwsType(() => db.function('f', {}), 'The "function" argument must be a function.');
		throwsType(() => db.function('f', {}, 5), 'The "function" argument must be a function.');
		for (const options of [undefined, null, 5]) throwsType(() => db.function('f', options, () => 1), 'The "options" argument must be an object.');
		for (const option of ['deterministic', 'directOnly', 'useBigIntArguments', 'varargs']) {
			throwsType(() => db.function('f', { [option]: 1 }, () => 1), `The "options.${option}" argument must be a boolean.`);
		}
		for (const length of ['x', 1.5, undefined]) throwsType(() => db.function('f', withLength(length)), 'The "function.length" property must be an integer.');
		for (const call of [() => db.function('x'.repeat(256), () => 1), () => db.function('f', withLength(1001))]) throws(call, Error, 'ERR_SQLITE_ERROR');
	});

	it('takes as many arguments as the function does, or any number', () => {
		const db = memory();
		db.function('two', (a, b) => `${a}${b}`);
		db.function('any', { varargs: true }, (...all) => all.length);
		throwsSqlite(() => db.prepare('SELECT two(1)'), 1, 'wrong number of arguments to function two()', 'SQL logic error');
		assert.deepEqual(get(db, 'SELECT two(1, 2) AS a, any() AS b, any(1, 2, 3) AS c'), row({ a: '12', b: 0, c: 3 }));
	});

	it('gives arguments as rows give values', () => {
		const db = memory();
		const seen = [];
		db.function('see', { varargs: true }, (...all) => { seen.push(...all); });
		db.function('big', { useBigIntArguments: true }, (n) => typeof n);
		get(db, "SELECT see(1, 2.5, 'x', x'00', NULL)");
		assert.deepEqual(seen, [1, 2.5, 'x', new Uint8Array([0]), null]);
		assert.equal(get(db, 'SELECT big(1) AS t').t, 'bigint');
		throwsRange(() => get(db, 'SELECT see(9007199254740993)'), 'Value is too large to be represented as a JavaScript number: 9007199254740993');
	});

	for (const [title, given, value, type] of [
		['a number', 1, 1, 'real'], ['a bigint', 10n, 10, 'integer'], ['a text', 'x', 'x', 'text'], ['null', null, null, 'null'],
		['undefined', undefined, null, 'null'], ['a Uint8Array', new Uint8Array([1]), new Uint8Array([1]), 'blob'],
		['a DataView', new DataView(new ArrayBuffer(1)), new Uint8Array(1), 'blob'], ['an ArrayBuffer', new ArrayBuffer(2), new Uint8Array(2), 'blob'],
	]) {
		it(`may return ${title}`, () => {
			const db = memory();
			db.function('f', () => given);
			assert.deepEqual(get(db, 'SELECT f() AS v, typeof(f()) AS t'), row({ v: value, t: type }));
		});
	}

	for (const [title, given, message] of [
		['true', true, 'Returned JavaScript value cannot be converted to a SQLite value'],
		['an object', {}, 'Returned JavaScript value cannot be converted to a SQLite value'],
		['an array', [1], 'Returned JavaScript value cannot be converted to a SQLite value'],
		['a symbol', Symbol('x'), 'Returned JavaScript value cannot be converted to a SQLite value'],
		['a bigint of more than 64 bits', 2n ** 64n, 'BigInt value is too large for SQLite'],
		['a promise', Promise.resolve(1), 'Asynchronous user-defined functions are not supported'],
	]) {
		it(`may not return ${title}`, () => {
			const db = memory();
			db.function('f', () => given);
			throwsSqlite(() => get(db, 'SELECT f()'), 1, message, 'SQL logic error');
		});
	}

	it('passes on what the function throws, whatever it is', () => {
		for (const thrown of [failure, 'text', null, undefined, 5]) {
			const db = letters();
			db.function('f', () => { throw thrown; });
			for (const run of [() => get(db, 'SELECT f()'), () => db.exec('SELECT f()'), () => db.prepare('SELECT f() FROM letters').all(), () => db.prepare('SELECT f()').run()]) {
				let caught = 'nothing';
				try {
					run();
				} catch (error) {
					caught = error;
				}
				assert.equal(caught, thrown);
			}
			assert.equal(get(db, 'SELECT 1 AS n').n, 1);
		}
	});

	it('ends the statement with what is thrown', () => {
		const db = letters();
		const seen = [];
		db.function('f', (id) => {
			seen.push(id);
			if (id === 2) throw failure;
			return id;
		});
		assert.throws(() => db.prepare('SELECT f(id) FROM letters ORDER BY id').all(), isFailure);
		assert.deepEqual(seen, [1, 2]);
	});

	it('keeps its options', () => {
		const db = memory('CREATE TABLE t(x)');
		db.function('sure', { deterministic: true }, (x) => x);
		db.function('unsure', (x) => x);
		db.function('direct', { directOnly: true }, (x) => x);
		db.exec('CREATE INDEX i ON t(sure(x))');
		throwsSqlite(() => db.exec('CREATE INDEX j ON t(unsure(x))'), 1, 'non-deterministic functions prohibited in index expressions');
		db.exec('CREATE VIEW v AS SELECT direct(1)');
		throwsSqlite(() => db.prepare('SELECT * FROM v'), 1, 'unsafe use of direct()');
	});

	it('replaces one of the same name', () => {
		const db = memory();
		db.function('f', () => 1);
		db.function('f', () => 2);
		assert.equal(get(db, 'SELECT f() AS n').n, 2);
	});
});

describe('within a function', () => {
	function within(action) {
		const db = letters();
		db.function('act', () => 1);
		const statement = db.prepare('SELECT act() AS n');
		db.function('act', () => action(db, statement) ?? null);
		return statement.get();
	}

	it('other statements can be run, and prepared', () => {
		assert.deepEqual(within((db) => get(db, 'SELECT count(*) AS n FROM letters').n), row({ n: 4 }));
		assert.deepEqual(within((db) => db.exec("INSERT INTO letters VALUES(9, 'i')")), row({ n: null }));
		assert.deepEqual(within((db) => db.prepare('DELETE FROM letters').run().changes), row({ n: 4 }));
		assert.deepEqual(within((db) => [...db.prepare('SELECT * FROM letters').iterate()].length), row({ n: 4 }));
	});

	it('the statement itself can be asked, but not run or closed', () => {
		assert.deepEqual(within((db, statement) => statement.columns().length), row({ n: 1 }));
		assert.deepEqual(within((db, statement) => statement.sourceSQL), row({ n: 'SELECT act() AS n' }));
		for (const call of ['get', 'all', 'run', 'iterate', 'close']) throwsState(() => within((db, statement) => statement[call]()), 'statement is already being executed');
	});

	it('the database cannot be closed', () => {
		throwsState(() => within((db) => db.close()), 'database cannot be closed while in a callback');
		throwsState(() => within((db) => db.deserialize(db.serialize())), 'database cannot be deserialized while in a callback');
		assert.deepEqual(within((db) => { db[Symbol.dispose](); return Number(db.isOpen); }), row({ n: 1 }));
	});

	it('functions can be deep', () => {
		const db = memory();
		db.function('down', (n) => (n === 0 ? 0 : get(db, 'SELECT down(?) + 1 AS n', n - 1).n));
		assert.equal(get(db, 'SELECT down(20) AS n').n, 20);
		throwsState(() => { db.function('shut', () => { get(db, 'SELECT down(1)'); db.close(); }); get(db, 'SELECT shut()'); }, 'database cannot be closed while in a callback');
	});
});

describe('aggregate()', () => {
	const of = (options, sql = 'SELECT f(id) AS v FROM letters') => {
		const db = letters();
		assert.equal(db.aggregate('f', options), undefined);
		return get(db, sql).v;
	};

	it('makes an aggregate function', () => {
		assert.equal(of({ start: 0, step: (sum, id) => sum + id }), 10);
		assert.equal(of({ start: 5, step: (sum, id) => sum + id }, 'SELECT f(id) AS v FROM letters WHERE id > 9'), 5);
		assert.equal(of({ start: null, step: (text, id) => `${text}${id}` }), 'null1234');
		assert.equal(of({ start: () => [], step: (list, id) => [...list, id], result: (list) => list.join('-') }), '1-2-3-4');
	});

	it('begins each group anew', () => {
		const db = letters();
		db.aggregate('list', { start: () => [], step: (list, letter) => { list.push(letter); return list; }, result: (list) => list.join('') });
		assert.deepEqual(db.prepare('SELECT id % 2 AS odd, list(letter) AS l FROM letters GROUP BY 1').all(), [row({ odd: 0, l: 'bd' }), row({ odd: 1, l: 'ac' })]);
	});

	it('takes what step returns, also nothing', () => {
		assert.equal(of({ start: 1, step: (_, id) => {} }), null);
	});

	it('runs over windows with inverse, and without not', () => {
		const step = (sum, id) => sum + id;
		const db = letters();
		db.aggregate('w', { start: 0, step, inverse: (sum, id) => sum - id });
		db.aggregate('f', { start: 0, step });
		const sql = (name) => `SELECT ${name}(id) OVER (ORDER BY id ROWS 1 PRECEDING) AS v FROM letters`;
		assert.deepEqual(db.prepare(sql('w')).all().map(({ v }) => v), [1, 3, 5, 7]);
		assert.equal(get(db, 'SELECT w(id) AS v FROM letters').v, 10);
		throwsSqlite(() => db.prepare(sql('f')), 1, 'f() may not be used as a window function');
	});

	it('takes as many arguments as step does without the state, or any number', () => {
		const db = letters();
		db.aggregate('two', { start: 0, step: (sum, a, b) => sum + a * b });
		db.aggregate('any', { start: 0, step: (sum, ...all) => sum + all.length, varargs: true });
		assert.deepEqual(get(db, 'SELECT two(id, 2) AS a, any(1, 2, 3) AS b FROM letters'), row({ a: 20, b: 12 }));
		throwsSqlite(() => db.prepare('SELECT two(1) FROM letters'), 1, 'wrong number of arguments to function two()');
		db.aggregate('none', { start: 5, step: () => 6 });
		assert.equal(get(db, 'SELECT none() AS a FROM letters').a, 6);
		throwsSqlite(() => db.prepare('SELECT none(1) FROM letters'), 1, 'wrong number of arguments to function none()');
	});

	it('gives bigints if they are wanted', () => {
		assert.equal(of({ start: '', step: (_, id) => typeof id, useBigIntArguments: true }), 'bigint');
		assert.equal(of({ start: '', step: (_, id) => typeof id }), 'number');
	});

	it('passes on what is thrown', () => {
		const fail = (_, id) => { throw failure; };
		for (const options of [{ start: fail, step: (_, id) => 1 }, { start: 0, step: fail }, { start: 0, step: (_, id) => 1, result: fail }]) assert.throws(() => of(options), isFailure);
		const windowed = { start: 0, step: (_, id) => 1, inverse: fail };
		assert.throws(() => of(windowed, 'SELECT f(id) OVER (ORDER BY id ROWS 1 PRECEDING) AS v FROM letters ORDER BY id DESC'), isFailure);
	});

	it('may not result in what SQLite does not know', () => {
		throwsSqlite(() => of({ start: 0, step: (_, id) => 1, result: () => ({}) }), 1, 'Returned JavaScript value cannot be converted to a SQLite value');
		throwsSqlite(() => of({ start: 0, step: (_, id) => Promise.resolve(1) }), 1, 'Asynchronous user-defined functions are not supported');
	});

	it('checks its arguments', () => {
		const db = memory();
		const fit = { start: 0, step: () => 1 };
		for (const name of [undefined, 5]) throwsType(() => db.aggregate(name, fit), 'The "name" argument must be a string.');
		for (const options of [undefined, null, 5]) throwsType(() => db.aggregate('f', options), 'The "options" argument must be an object.');
		throwsType(() => db.aggregate('f', { step: () => 1 }), 'The "options.start" argument must be a function or a primitive value.');
		for (const step of [undefined, null, 5]) throwsType(() => db.aggregate('f', { start: 0, step }), 'The "options.step" argument must be a function.');
		for (const inverse of [null, 5]) throwsType(() => db.aggregate('f', { ...fit, inverse }), 'The "options.inverse" argument must be a function.');
		for (const option of ['directOnly', 'useBigIntArguments', 'varargs']) throwsType(() => db.aggregate('f', { ...fit, [option]: 1 }), `The "options.${option}" argument must be a boolean.`);
	});
});

describe('createModule()', () => {
	const ANY = { name: 'v', type: 'ANY' };
	const rowsOf = (rows, options = {}, sql = 'SELECT * FROM m') => {
		const db = memory();
		assert.equal(db.createModule('m', { columns: [ANY, { name: 'p', type: 'INTEGER', hidden: true }, { name: 'q', type: 'TEXT', hidden: true }], rows, ...options }), undefined);
		return db.prepare(sql).all();
	};
	const values = (...given) => rowsOf(...given).map(({ v }) => v);

	it('makes a table of what an iterable yields', () => {
		assert.deepEqual(values(() => [[1], ['two'], [3n], [null], [undefined], [new Uint8Array([4])]]), [1, 'two', 3, null, null, new Uint8Array([4])]);
		assert.deepEqual(values(function* () { yield [1]; yield [2]; }), [1, 2]);
		assert.deepEqual(values(() => new Set([[1], [2]])), [1, 2]);
		assert.deepEqual(values(() => []), []);
		assert.deepEqual(rowsOf(() => [[1]], {}, 'SELECT rowid, v, p, q FROM m'), [row({ rowid: 1, v: 1, p: null, q: null })]);
	});

	it('has columns that are too few or none be null, and leaves out those too many', () => {
		const db = memory();
		db.createModule('m', { columns: [ANY, { name: 'w', type: 'TEXT' }], rows: () => [[1, 2, 3], [1], [], 5, { v: 1 }] });
		const nothing = row({ v: null, w: null });
		assert.deepEqual(db.prepare('SELECT * FROM m').all(), [row({ v: 1, w: 2 }), row({ v: 1, w: null }), nothing, nothing, nothing]);
	});

	it('gives hidden columns as arguments, in their order', () => {
		const json = (...given) => [[JSON.stringify(given)]];
		assert.deepEqual(values(json), ['[null,null]']);
		assert.deepEqual(values(json, {}, 'SELECT * FROM m(1)'), ['[1,null]']);
		assert.deepEqual(values(json, {}, "SELECT * FROM m(1, 'x')"), ['[1,"x"]']);
		assert.deepEqual(values(json, {}, "SELECT * FROM m WHERE q = 'x'"), ['[null,"x"]']);
		assert.deepEqual(values(json, {}, 'SELECT * FROM m(NULL, NULL)'), ['[null,null]']);
		assert.deepEqual(rowsOf((p) => [[p]], {}, 'SELECT v, p FROM m(7)'), [row({ v: 7, p: 7 })]);
		assert.deepEqual(rowsOf((p) => [[typeof p]], { useBigIntArguments: true }, 'SELECT v FROM m(7)'), [row({ v: 'bigint' })]);
		throwsRange(() => rowsOf((p) => [[p]], {}, 'SELECT v FROM m(9007199254740993)'), /too large/);
	});

	it('leaves other conditions to SQLite', () => {
		assert.deepEqual(values(() => [[1], [2], [3]], {}, 'SELECT v FROM m WHERE v > 1'), [2, 3]);
		assert.deepEqual(values(() => [[1], [2], [3]], {}, 'SELECT v FROM m WHERE p > 1'), []);
		assert.deepEqual(values((p) => [[p * 2]], {}, 'SELECT m.v AS v FROM (SELECT 1 AS n UNION ALL SELECT 2) AS numbers JOIN m ON m.p = numbers.n'), [2, 4]);
	});

	it('can be made a table under another name', () => {
		const db = memory();
		db.createModule('m', { columns: [ANY], rows: () => [[1], [2]] });
		db.exec('CREATE VIRTUAL TABLE named USING m');
		assert.deepEqual(db.prepare('SELECT v FROM named').all(), [row({ v: 1 }), row({ v: 2 })]);
		throwsSqlite(() => db.exec('INSERT INTO named VALUES(3)'), 1, 'table named may not be modified');
	});

	it('declares types', () => {
		const db = memory();
		db.createModule('m', { columns: [{ name: 'i', type: 'INTEGER' }, { name: 'a "t"', type: 'TEXT' }], rows: () => [['12', 1]] });
		assert.deepEqual(db.prepare('SELECT * FROM m').columns().map(({ name, type }) => [name, type]), [['i', 'INTEGER'], ['a "t"', 'TEXT']]);
		assert.deepEqual(get(db, 'SELECT typeof(i) AS t, i = 12 AS equal FROM m'), row({ t: 'text', equal: 1 }));
	});

	it('is for direct use only if it says so', () => {
		const view = (options) => {
			const db = memory();
			db.createModule('m', { columns: [ANY], rows: () => [[1]], ...options });
			db.exec('CREATE VIEW view AS SELECT v FROM m');
			return db.prepare('SELECT v FROM view').all();
		};
		assert.deepEqual(view({}), [row({ v: 1 })]);
		throwsSqlite(() => view({ directOnly: true }), 1, 'unsafe use of virtual table "m"');
	});

	it('ends an iterable that is left early', () => {
		const log = [];
		const db = memory();
		db.createModule('m', { columns: [ANY], *rows() { try { yield [1]; yield [2]; } finally { log.push('end'); } } });
		assert.deepEqual(db.prepare('SELECT v FROM m LIMIT 1').all(), [row({ v: 1 })]);
		assert.deepEqual(log, ['end']);
		assert.deepEqual(db.prepare('SELECT v FROM m').get(), row({ v: 1 }));
		assert.deepEqual(log, ['end', 'end']);
		assert.equal(db.prepare('SELECT v FROM m').all().length, 2);
		assert.deepEqual(log, ['end', 'end', 'end']);
	});

	it('passes on what is thrown', () => {
		assert.throws(() => rowsOf(() => { throw failure; }), isFailure);
		assert.throws(() => rowsOf(function* () { yield [1]; throw failure; }), isFailure);
		assert.throws(() => rowsOf(function* () { try { yield [1]; } finally { throw failure; } }, {}, 'SELECT v FROM m LIMIT 1'), isFailure);
	});

	it('refuses what is no iterable, and values that SQLite does not know', () => {
		for (const given of [undefined, null, 5, 'text']) throwsSqlite(() => rowsOf(() => given), 1, 'The "options.rows" function must return an iterable object');
		const iterable = (iterator) => ({ [Symbol.iterator]: () => iterator });
		throwsSqlite(() => rowsOf(() => iterable(5)), 1, 'The "options.rows" iterable\'s Symbol.iterator method must return an object');
		for (const given of [{}, iterable({}), iterable({ next: 5 })]) throwsSqlite(() => rowsOf(() => given), 1, 'The "options.rows" iterator must have a next() method');
		const odd = { next: () => 5, [Symbol.iterator]() { return this; } };
		throwsSqlite(() => rowsOf(() => odd), 1, 'The "options.rows" iterator\'s next() method must return an object');
		for (const given of [true, {}, Symbol('x')]) throwsSqlite(() => rowsOf(() => [[given]]), 1, 'Returned JavaScript value cannot be converted to a SQLite value');
		throwsSqlite(() => rowsOf(() => [[2n ** 70n]]), 1, 'BigInt value is too large for SQLite');
	});

	it('checks its arguments', () => {
		const db = memory();
		const fit = { columns: [ANY], rows: () => [] };
		for (const name of [undefined, 5]) throwsType(() => db.createModule(name, fit), 'The "name" argument must be a string.');
		for (const options of [undefined, null, 5]) throwsType(() => db.createModule('m', options), 'The "options" argument must be an object.');
		for (const columns of [undefined, 5, {}]) throwsType(() => db.createModule('m', { ...fit, columns }), 'The "options.columns" argument must be an array.');
		throws(() => db.createModule('m', { ...fit, columns: [] }), TypeError, 'ERR_INVALID_ARG_VALUE', 'The "options.columns" array must not be empty.');
		for (const rows of [undefined, 5]) throwsType(() => db.createModule('m', { ...fit, rows }), 'The "options.rows" argument must be a function.');
		for (const option of ['directOnly', 'useBigIntArguments']) throwsType(() => db.createModule('m', { ...fit, [option]: 1 }), `The "options.${option}" argument must be a boolean.`);
		const column = (given) => () => db.createModule('m', { ...fit, columns: [given] });
		for (const given of [5, null]) throwsType(column(given), 'Each column in "options.columns" must be an object.');
		throwsType(column({ type: 'TEXT' }), 'The column "name" property must be a string.');
		throwsType(column({ name: 'a' }), 'The column "type" property must be a string.');
		throwsType(column({ ...ANY, hidden: 1 }), 'The column "hidden" property must be a boolean.');
		for (const type of ['', 'text', 'NUMERIC']) {
			throws(column({ name: 'a', type }), TypeError, 'ERR_INVALID_ARG_VALUE', 'The column "type" property must be one of \'INTEGER\', \'TEXT\', \'REAL\', \'BLOB\', or \'ANY\'.');
		}
	});
});
