'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { memory, filled, throws, throwsSqlite, throwsValue, BUSY } = require('./support');

const one = (db, sql, ...parameters) => db.prepare(sql).pluck().get(...parameters);
const raw = (db, sql, ...parameters) => db.prepare(sql).raw().all(...parameters);
const sequence = {
	columns: ['value'],
	parameters: ['length', 'start'],
	*rows(length, start = 0) { for (let i = 0; i < length; ++i) yield [start + i]; },
};
const yielding = (...rows) => ({ columns: ['a', 'b'], *rows() { yield* rows; } });

describe('table(): arguments', () => {
	it('returns the database', () => {
		const db = memory();
		assert.equal(db.table('t', sequence), db);
		assert.equal(db.table('u', () => sequence), db);
	});

	for (const [title, parameters, message] of [
		['nothing', [], 'Expected first argument to be a string'],
		['a name that is a number', [5, sequence], 'Expected first argument to be a string'],
		['an empty name', ['', sequence], 'Virtual table module name cannot be an empty string'],
		['a name alone', ['t'], 'Expected second argument to be a function or a table definition object'],
		['null for a definition', ['t', null], 'Expected second argument to be a function or a table definition object'],
		['a string for a definition', ['t', 'x'], 'Expected second argument to be a function or a table definition object'],
		['true for a definition', ['t', true], 'Expected second argument to be a function or a table definition object'],
	]) {
		it(`refuses ${title}`, () => throws(() => memory().table(...parameters), TypeError, message));
	}
});

describe('table(): definitions', () => {
	const rows = function* rows() {};
	const faults = [
		['no rows', { columns: ['a'] }, TypeError, 'a table definition without a "rows" property'],
		['no columns', { rows }, TypeError, 'a table definition without a "columns" property'],
		['inherited properties', Object.create({ columns: ['a'], rows }), TypeError, 'a table definition without a "rows" property'],
		['an array for a definition', [], TypeError, 'a table definition without a "rows" property'],
	];
	for (const [title, value] of [['a plain function', () => []], ['a method', { rows() {} }.rows], ['an async generator', async function* later() {}], ['an array', []], ['null', null], ['undefined', undefined]]) {
		faults.push([`${title} for rows`, { columns: ['a'], rows: value }, TypeError, 'a table definition with an invalid "rows" property (should be a generator function)']);
	}
	for (const [title, value] of [['a string', 'a'], ['null', null], ['an array of numbers', [1]], ['an array with a hole', ['a', undefined]], ['an object', {}]]) {
		faults.push([`${title} for columns`, { columns: value, rows }, TypeError, 'a table definition with an invalid "columns" property (should be an array of strings)']);
		faults.push([`${title} for parameters`, { columns: ['a'], parameters: value, rows }, TypeError, 'a table definition with an invalid "parameters" property (should be an array of strings)']);
	}
	for (const value of [undefined, null, 1, 'true']) {
		faults.push([`${String(value)} for safeIntegers`, { columns: ['a'], rows, safeIntegers: value }, TypeError, 'a table definition with an invalid "safeIntegers" property (should be a boolean)']);
		faults.push([`${String(value)} for directOnly`, { columns: ['a'], rows, directOnly: value }, TypeError, 'a table definition with an invalid "directOnly" property (should be a boolean)']);
	}
	faults.push(
		['columns of one name', { columns: ['a', 'a'], rows }, TypeError, 'a table definition with duplicate column names'],
		['no column at all', { columns: [], rows }, RangeError, 'a table definition with zero columns'],
		['parameters of one name', { columns: ['a'], parameters: ['b', 'b'], rows }, TypeError, 'a table definition with duplicate parameter names'],
		['more than 32 parameters', { columns: ['a'], parameters: Array.from({ length: 33 }, (_, i) => `p${i}`), rows }, RangeError, 'a table definition with more than the maximum number of 32 parameters'],
		['a column and a parameter of one name', { columns: ['a', 'b'], parameters: ['c', 'b'], rows }, TypeError, 'a table definition with column "b" which was ambiguously defined as both a column and parameter'],
	);
	for (const [title, definition, type, message] of faults) {
		it(`refuses ${title}, given or returned by a factory`, () => {
			const db = memory();
			throws(() => db.table('my "table"', definition), type, `Virtual table module "my "table"" used ${message}`);
			db.table('made', () => definition); // messages name the module as the SQL wrote it
			throws(() => db.exec('CREATE VIRTUAL TABLE t USING MADE'), type, `Virtual table module "MADE" returned ${message}`);
		});
	}

	for (const value of [undefined, null, 5, 'x', true]) {
		it(`refuses a factory that returns ${String(value)}`, () => {
			const db = memory();
			db.table('made', () => value);
			throws(() => db.exec('CREATE VIRTUAL TABLE t USING made'), TypeError, 'Virtual table module "made" did not return a table definition object');
			assert.equal(one(db, "SELECT count(*) FROM sqlite_master"), 0);
		});
	}

	it('refuses a generator function with an odd length', () => {
		const odd = Object.defineProperty(function* odd() {}, 'length', { value: -1 });
		throws(() => memory().table('t', { columns: ['a'], rows: odd }), TypeError, 'Expected function.length to be a positive integer');
	});

	it('accepts 32 parameters and any name for columns and parameters', () => {
		const db = memory();
		const parameters = Array.from({ length: 32 }, (_, i) => `p "${i}"`);
		db.table('t', { columns: ['a "b"', 'select', 'größe'], parameters, *rows(...all) { yield [all.length, all[0], all[31]]; } });
		const row = db.prepare(`SELECT *, "p ""31""" FROM t(${parameters.map((_, i) => i).join()})`).get();
		assert.deepEqual(row, { 'a "b"': 32, select: 0, größe: 31, 'p "31"': 31 });
	});

	it('says when SQLite cannot declare the table', () => {
		const db = memory();
		db.table('made', () => ({ columns: ['a', 'A'], rows }));
		throwsSqlite(() => db.exec('CREATE VIRTUAL TABLE t USING made'), 'SQLITE_ERROR', 'failed to declare virtual table "t"');
		db.table('given', { columns: ['a', 'A'], rows });
		throwsSqlite(() => db.prepare('SELECT * FROM given'), 'SQLITE_ERROR', 'failed to declare virtual table "given"');
	});

	it('reads a definition once: changing it later changes nothing', () => {
		const db = memory();
		const definition = { columns: ['a'], *rows() { yield [1]; } };
		db.table('t', definition);
		definition.columns.push('b');
		definition.rows = null;
		assert.deepEqual(db.prepare('SELECT * FROM t').all(), [{ a: 1 }]);
	});
});

describe('table(): a definition that is given', () => {
	it('is a table that exists by itself', () => {
		const db = memory();
		db.table('t', yielding([1, 'x'], { b: 'y', a: 2 }));
		assert.deepEqual(db.prepare('SELECT * FROM t').all(), [{ a: 1, b: 'x' }, { a: 2, b: 'y' }]);
		assert.equal(one(db, 'SELECT b FROM t WHERE a = 2'), 'y');
		assert.deepEqual(raw(db, 'SELECT count(*), sum(a) FROM t'), [[2, 3]]);
		assert.deepEqual(raw(db, 'SELECT rowid FROM t'), [[1], [2]]);
	});

	it('is no module for CREATE VIRTUAL TABLE', () => {
		const db = memory();
		db.table('t', sequence);
		throwsSqlite(() => db.exec('CREATE VIRTUAL TABLE u USING t'), 'SQLITE_ERROR', 'no such module: t');
	});

	it('cannot be written to or dropped', () => {
		const db = memory();
		db.table('t', yielding());
		for (const sql of ["INSERT INTO t VALUES (1, 2)", 'UPDATE t SET a = 1', 'DELETE FROM t']) throwsSqlite(() => db.prepare(sql), 'SQLITE_ERROR', 'table t may not be modified');
		throwsSqlite(() => db.exec('DROP TABLE t'), 'SQLITE_ERROR', 'table t may not be dropped');
	});

	it('stands behind a real table of the same name', () => {
		const db = memory('CREATE TABLE t (a); INSERT INTO t VALUES (5)');
		db.table('t', yielding([1, 2]));
		assert.deepEqual(db.prepare('SELECT * FROM t').all(), [{ a: 5 }]);
	});

	it('can be replaced', () => {
		const db = memory();
		db.table('t', yielding([1, 2]));
		assert.deepEqual(raw(db, 'SELECT * FROM t'), [[1, 2]]);
		db.table('t', { columns: ['z'], *rows() { yield [9]; } });
		assert.deepEqual(db.prepare('SELECT * FROM t').all(), [{ z: 9 }]);
	});

	it('joins, sorts and groups like any table', () => {
		const db = filled(memory());
		db.table('t', yielding([1, 'one'], [3, 'three'], [1, 'uno']));
		assert.deepEqual(raw(db, 'SELECT t.b, entries.t FROM t JOIN entries ON entries.i = t.a ORDER BY t.b DESC'), [['uno', 'text 1'], ['three', 'text 3'], ['one', 'text 1']]);
		assert.deepEqual(raw(db, 'SELECT a, count(*) FROM t GROUP BY a'), [[1, 2], [3, 1]]);
	});

	it('can feed a CREATE TABLE and an INSERT', () => {
		const db = memory();
		db.table('t', sequence);
		db.exec('CREATE TABLE a AS SELECT value FROM t(3, 7); INSERT INTO a SELECT value FROM t(2)');
		assert.deepEqual(db.prepare('SELECT value FROM a').pluck().all(), [7, 8, 9, 0, 1]);
	});
});

describe('table(): parameters', () => {
	it('are given like the arguments of a function, or with =', () => {
		const db = memory();
		db.table('seq', sequence);
		assert.deepEqual(raw(db, 'SELECT value FROM seq(?, ?)', 3, 10), [[10], [11], [12]]);
		assert.deepEqual(raw(db, 'SELECT value FROM seq WHERE start = 5 AND length = 2'), [[5], [6]]);
		assert.deepEqual(raw(db, 'SELECT value FROM seq(2) WHERE start = 5'), [[5], [6]]);
	});

	it('are hidden columns', () => {
		const db = memory();
		db.table('seq', sequence);
		assert.deepEqual(db.prepare('SELECT * FROM seq(1, 4)').all(), [{ value: 4 }]);
		assert.deepEqual(db.prepare('SELECT value, length, start FROM seq(1, 4)').all(), [{ value: 4, length: 1, start: 4 }]);
	});

	it('are undefined when they are not given, so that defaults apply', () => {
		const db = memory();
		const seen = [];
		db.table('t', { columns: ['a'], parameters: ['x', 'y'], *rows(...all) { seen.push(all); yield [1]; } });
		assert.deepEqual(db.prepare('SELECT x, y FROM t').raw().all(), [[null, null]]);
		raw(db, 'SELECT * FROM t(5)');
		raw(db, 'SELECT * FROM t WHERE y = 6');
		assert.deepEqual(seen, [[undefined, undefined], [5, undefined], [undefined, 6]]);
	});

	it('make an empty table when one of them is NULL, without calling rows', () => {
		const db = memory();
		let calls = 0;
		db.table('t', { columns: ['a'], parameters: ['x', 'y'], *rows() { calls += 1; yield [1]; } });
		assert.deepEqual(raw(db, 'SELECT * FROM t(NULL)'), []);
		assert.deepEqual(raw(db, 'SELECT * FROM t(1, NULL)'), []);
		assert.equal(calls, 0);
	});

	it('are named $1, $2, ... after the parameters of rows when the definition names none', () => {
		const db = memory();
		db.table('t', { columns: ['sum'], *rows(a, b) { yield [a + b]; } });
		assert.deepEqual(db.prepare('SELECT *, "$1", "$2" FROM t(3, 4)').get(), { sum: 7, $1: 3, $2: 4 });
		assert.equal(one(db, 'SELECT sum FROM t WHERE "$2" = 1 AND "$1" = 2'), 3);
	});

	it('can only be equal to something', () => {
		const db = memory();
		db.table('seq', sequence);
		for (const condition of ['length < 5', 'length > 1', "length LIKE '1'", 'length IS NOT 5']) {
			throwsSqlite(() => db.prepare(`SELECT * FROM seq WHERE ${condition}`), 'SQLITE_ERROR', "virtual table parameter \"length\" can only be constrained by the '=' operator");
		}
	});

	it('cannot be too many', () => {
		const db = memory();
		db.table('seq', sequence);
		throwsSqlite(() => db.prepare('SELECT * FROM seq(1, 2, 3)'), 'SQLITE_ERROR', 'too many arguments on seq() - max 2');
	});

	it('may come from tables that are joined', () => {
		const db = memory();
		db.table('seq', sequence);
		assert.deepEqual(raw(db, 'SELECT a.value, b.value FROM seq(3) AS a, seq(a.value, 10) AS b ORDER BY 1, 2'), [[1, 10], [2, 10], [2, 11]]);
		assert.deepEqual(raw(db, 'SELECT a.value, b.value FROM seq(2) AS a LEFT JOIN seq(a.value) AS b'), [[0, null], [1, 0]]);
	});

	it('may be one of several values', () => {
		const db = memory();
		db.table('seq', sequence);
		assert.deepEqual(raw(db, 'SELECT length, value FROM seq WHERE length IN (1, 2) ORDER BY 1, 2'), [[1, 0], [2, 0], [2, 1]]);
	});

	it('work with LIMIT and OFFSET', () => {
		const db = memory();
		db.table('seq', sequence);
		assert.deepEqual(raw(db, 'SELECT value FROM seq(10) LIMIT 2 OFFSET 3'), [[3], [4]]);
	});

	it('pass on every kind of value', () => {
		const db = memory();
		const seen = [];
		db.table('t', { columns: ['a'], *rows(x) { seen.push(x); yield [x]; } });
		for (const value of [1.5, 'text', '', 'a\0b', Buffer.from([0, 1]), 5]) {
			const back = one(db, 'SELECT a FROM t(?)', value);
			assert.deepEqual(back, value);
		}
		assert.deepEqual(seen, [1.5, 'text', '', 'a\0b', Buffer.from([0, 1]), 5]);
	});

	it('keep their value although rows changes a buffer that it was given', () => {
		const db = memory();
		db.table('t', { columns: ['a'], *rows(x) { x.fill(9); yield [x]; } });
		assert.deepEqual(raw(db, "SELECT hex(a), hex(\"$1\") FROM t(x'0102')"), [['0909', '0102']]);
	});

	it('are bigints with safeIntegers', () => {
		const db = memory();
		const type = { columns: ['a'], *rows(x) { yield [typeof x]; } };
		db.table('plain', type).table('safe', { ...type, safeIntegers: true });
		assert.equal(one(db, 'SELECT a FROM plain(5)'), 'number');
		assert.equal(one(db, 'SELECT a FROM safe(5)'), 'bigint');
		assert.equal(one(db, 'SELECT a FROM safe(5.0)'), 'number');
		db.defaultSafeIntegers();
		db.table('by_default', type).table('not_safe', { ...type, safeIntegers: false });
		assert.equal(one(db, 'SELECT a FROM by_default(5)'), 'bigint');
		assert.equal(one(db, 'SELECT a FROM not_safe(5)'), 'number');
	});
});

describe('table(): rows', () => {
	for (const [title, row, type, message] of [
		['a string', 'x', TypeError, "something that isn't a valid row object"],
		['a number', 5, TypeError, "something that isn't a valid row object"],
		['null', null, TypeError, "something that isn't a valid row object"],
		['undefined', undefined, TypeError, "something that isn't a valid row object"],
		['a function', () => {}, TypeError, "something that isn't a valid row object"],
		['too few values', [1], TypeError, 'a row with an incorrect number of columns'],
		['too many values', [1, 2, 3], TypeError, 'a row with an incorrect number of columns'],
		['an object that lacks a column', { a: 1 }, TypeError, 'a row with missing columns'],
		['an empty object', {}, TypeError, 'a row with missing columns'],
		['an object with another column', { a: 1, b: 2, c: 3 }, TypeError, 'a row with an undeclared column "c"'],
		['an object with inherited columns', Object.create({ a: 1, b: 2 }), TypeError, 'a row with missing columns'],
		['true as a value', [1, true], TypeError, 'an invalid value'],
		['an object as a value', { a: 1, b: {} }, TypeError, 'an invalid value'],
		['a symbol as a value', [1, Symbol('x')], TypeError, 'an invalid value'],
		['a bigint that is no int64', [1, 2n ** 63n], RangeError, 'a bigint that was too big'],
	]) {
		it(`cannot be ${title}`, () => {
			const db = memory();
			db.table('t', yielding(row));
			throws(() => db.prepare('SELECT * FROM t').all(), type, `Virtual table module "t" yielded ${message}`);
			assert.equal(one(db, 'SELECT 1'), 1);
		});
	}

	it('take undefined and NaN for NULL, and every value of SQLite as it is', () => {
		const db = memory();
		db.table('t', { columns: ['a'], *rows() { for (const x of [undefined, null, NaN, 5n, 1.5, 'x', Buffer.from([1])]) yield [x]; } });
		assert.deepEqual(raw(db, 'SELECT typeof(a), a FROM t'), [['null', null], ['null', null], ['null', null], ['integer', 5], ['real', 1.5], ['text', 'x'], ['blob', Buffer.from([1])]]);
	});

	it('may be one array or object that is yielded again and again', () => {
		const db = memory();
		db.table('t', { columns: ['a'], *rows() { const row = { a: 0 }; for (; row.a < 3; ++row.a) yield row; } });
		assert.deepEqual(raw(db, 'SELECT a FROM t ORDER BY a DESC'), [[2], [1], [0]]);
	});

	it('are asked for one at a time', () => {
		const db = memory();
		let made = 0;
		db.table('t', { columns: ['a'], *rows() { for (;;) yield [made++]; } });
		assert.equal(one(db, 'SELECT a FROM t'), 0);
		assert.equal(made, 1);
		const iterator = db.prepare('SELECT a FROM t').pluck().iterate();
		assert.deepEqual([iterator.next().value, iterator.next().value], [1, 2]);
		iterator.return();
		assert.equal(made, 3);
		assert.equal(one(db, 'SELECT count(*) FROM (SELECT * FROM t LIMIT 100)'), 100);
	});

	it('are made anew by every scan', () => {
		const db = memory();
		let scans = 0;
		db.table('t', { columns: ['a'], *rows() { scans += 1; yield [scans]; } });
		const statement = db.prepare('SELECT a FROM t').pluck();
		assert.deepEqual([statement.get(), statement.get(), statement.all()], [1, 2, [3]]);
	});

	it('may be many', () => {
		const db = memory();
		db.table('seq', sequence);
		assert.deepEqual(raw(db, 'SELECT count(*), sum(value) FROM seq(20000)'), [[20000, 199990000]]);
	});
});

describe('table(): factories', () => {
	it('are called by CREATE VIRTUAL TABLE with its arguments as text', () => {
		const db = memory();
		const calls = [];
		db.table('made', function made(...args) {
			calls.push([{ ...this }, args]);
			return { columns: ['x'], *rows() { yield [args.length]; } };
		});
		db.exec("CREATE VIRTUAL TABLE t USING made(a, 'b', c = d , \"e\")");
		db.exec('CREATE VIRTUAL TABLE temp.u USING made');
		assert.deepEqual(calls, [
			[{ module: 'made', database: 'main', table: 't' }, ['a', "'b'", 'c = d', '"e"']],
			[{ module: 'made', database: 'temp', table: 'u' }, []],
		]);
		assert.equal(one(db, 'SELECT x FROM t'), 4);
		assert.equal(one(db, 'SELECT x FROM u'), 0);
	});

	it('make tables that appear in the schema and can be dropped', () => {
		const db = memory();
		db.table('made', () => sequence);
		db.exec('CREATE VIRTUAL TABLE t USING made');
		assert.equal(one(db, "SELECT sql FROM sqlite_master WHERE name = 't'"), 'CREATE VIRTUAL TABLE t USING made');
		throwsSqlite(() => db.exec('INSERT INTO t VALUES (1)'), 'SQLITE_ERROR', 'table t may not be modified');
		db.exec('DROP TABLE t');
		throwsSqlite(() => db.prepare('SELECT * FROM t'), 'SQLITE_ERROR', 'no such table: t');
	});

	it('are no tables by themselves', () => {
		const db = memory();
		db.table('made', () => sequence);
		throwsSqlite(() => db.prepare('SELECT * FROM made'), 'SQLITE_ERROR', 'no such table: made');
	});

	it('may make different tables', () => {
		const db = memory();
		db.table('csv', (text, ...names) => {
			const values = text.slice(1, -1).split(';').map((line) => line.split(':'));
			return { columns: names, *rows() { yield* values; } };
		});
		db.exec("CREATE VIRTUAL TABLE t USING csv('1:2;3:4', a, b); CREATE VIRTUAL TABLE u USING csv('x', c)");
		assert.deepEqual(db.prepare('SELECT * FROM t').all(), [{ a: '1', b: '2' }, { a: '3', b: '4' }]);
		assert.deepEqual(db.prepare('SELECT * FROM u').all(), [{ c: 'x' }]);
	});

	for (const [title, value] of [['an error', new Error('mine')], ['null', null], ['undefined', undefined], ['a string', 'x']]) {
		it(`pass on ${title} that they throw, and no table is made`, () => {
			const db = memory();
			db.table('made', () => { throw value; });
			throwsValue(() => db.exec('CREATE VIRTUAL TABLE t USING made'), value);
			throwsValue(() => db.prepare('CREATE VIRTUAL TABLE t USING made').run(), value);
			assert.equal(one(db, 'SELECT count(*) FROM sqlite_master'), 0);
		});
	}

	it('find the database busy', () => {
		const db = memory();
		db.table('made', () => { throws(() => db.exec('SELECT 1'), TypeError, BUSY); return sequence; });
		db.exec('CREATE VIRTUAL TABLE t USING made');
	});
});

describe('table(): exceptions', () => {
	for (const [title, value] of [['an error', new Error('mine')], ['null', null], ['undefined', undefined], ['a string', 'x']]) {
		it(`passes on ${title} thrown by rows at the start or later`, () => {
			const db = memory();
			db.table('t', { columns: ['a'], *rows(count) { for (let i = 0; i < count; ++i) yield [i]; throw value; } });
			for (const count of [0, 1, 5]) {
				throwsValue(() => db.prepare('SELECT * FROM t(?)').all(count), value);
				throwsValue(() => [...db.prepare('SELECT * FROM t(?)').iterate(count)], value);
			}
			throwsValue(() => db.exec('SELECT * FROM t(1)'), value);
			assert.equal(one(db, 'SELECT a FROM t(1)'), 0);
		});
	}

	it('passes on what a getter of a row throws', () => {
		const db = memory();
		const error = new Error('mine');
		db.table('t', { columns: ['a'], *rows() { yield { get a() { throw error; } }; } });
		throwsValue(() => db.prepare('SELECT * FROM t').all(), error);
	});

	it('undoes the statement that read from it', () => {
		const db = memory('CREATE TABLE a (b)');
		db.table('t', { columns: ['a'], *rows() { yield [1]; yield [2]; throw new Error('mine'); } });
		throws(() => db.exec('INSERT INTO a SELECT a FROM t'), Error, 'mine');
		assert.equal(one(db, 'SELECT count(*) FROM a'), 0);
	});
});

describe('table(): directOnly', () => {
	it('keeps a table out of views and triggers', () => {
		const db = memory();
		db.table('direct', { columns: ['a'], directOnly: true, *rows() { yield [1]; } }).table('open_to_all', { columns: ['a'], directOnly: false, *rows() { yield [1]; } });
		assert.equal(one(db, 'SELECT a FROM direct'), 1);
		db.exec('CREATE VIEW v AS SELECT * FROM direct; CREATE VIEW w AS SELECT * FROM open_to_all');
		throwsSqlite(() => db.prepare('SELECT * FROM v'), 'SQLITE_ERROR', 'unsafe use of virtual table "direct"');
		assert.equal(one(db, 'SELECT a FROM w'), 1);
	});
});

describe('table(): while busy', () => {
	it('cannot be registered while an iterator is open, even in unsafe mode', () => {
		const db = filled(memory()).unsafeMode();
		const iterator = db.prepare('SELECT * FROM entries').iterate();
		throws(() => db.table('t', sequence), TypeError, BUSY);
		iterator.return();
		db.table('t', sequence);
	});

	it('finds the database busy inside rows', () => {
		const db = memory();
		db.table('t', { columns: ['a'], *rows() {
			throws(() => db.exec('SELECT 1'), TypeError, BUSY);
			throws(() => db.prepare('SELECT 1'), TypeError, BUSY);
			throws(() => db.close(), TypeError, BUSY);
			throws(() => db.table('u', sequence), TypeError, BUSY);
			yield [1];
		} });
		assert.deepEqual(raw(db, 'SELECT a FROM t'), [[1]]);
	});

	it('can read another database inside rows', () => {
		const other = filled(memory());
		const db = memory();
		db.table('mirror', { columns: ['t', 'i'], *rows() { yield* other.prepare('SELECT t, i FROM entries').raw().iterate(); } });
		assert.deepEqual(raw(db, 'SELECT i FROM mirror WHERE i > 1'), [[2], [3]]);
		other.exec('DROP TABLE entries');
	});
});
