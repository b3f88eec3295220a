'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { Database, freshPath, memory, throws, throwsSqlite, throwsValue, BUSY } = require('./support');

function logged(sql) {
	const log = [];
	const db = memory(undefined, { verbose: (...args) => { assert.equal(args.length, 1); log.push(args[0]); } });
	if (sql) db.exec(sql);
	log.length = 0;
	return { db, take: () => log.splice(0) };
}

describe('verbose: what is reported', () => {
	it('each execution, with the values in place of the parameters', () => {
		const { db, take } = logged('CREATE TABLE a (b, c)');
		const insert = db.prepare('INSERT INTO a VALUES (?, @x)');
		assert.deepEqual(take(), []);
		insert.run(5, { x: "it's" });
		insert.run(5n, { x: null });
		insert.run(1.5, { x: Buffer.from([1, 255]) });
		assert.deepEqual(take(), ["INSERT INTO a VALUES (5.0, 'it''s')", 'INSERT INTO a VALUES (5, NULL)', "INSERT INTO a VALUES (1.5, x'01ff')"]);
	});

	it('get, all, run and the first step of an iterator', () => {
		const { db, take } = logged();
		const statement = db.prepare('SELECT ? -- why');
		statement.get(1n);
		statement.all(2n);
		statement.run(3n);
		assert.deepEqual(take(), ['SELECT 1 -- why', 'SELECT 2 -- why', 'SELECT 3 -- why']);
		const iterator = statement.iterate(4n);
		assert.deepEqual(take(), []);
		iterator.next();
		assert.deepEqual(take(), ['SELECT 4 -- why']);
		iterator.next();
		iterator.return();
		assert.deepEqual(take(), []);
		statement.iterate(5n).return();
		assert.deepEqual(take(), []);
	});

	it('bound statements at every execution', () => {
		const { db, take } = logged();
		const statement = db.prepare('SELECT ?').bind('x');
		assert.deepEqual(take(), []);
		statement.get();
		statement.get();
		assert.deepEqual(take(), ["SELECT 'x'", "SELECT 'x'"]);
	});

	it('each statement of exec by itself, with its comments and its semicolon', () => {
		const { db, take } = logged();
		db.exec('CREATE TABLE a (b);  INSERT INTO a VALUES (1) ; -- x\n /* y */ INSERT INTO a VALUES (?)');
		assert.deepEqual(take(), ['CREATE TABLE a (b);', 'INSERT INTO a VALUES (1) ;', '-- x\n /* y */ INSERT INTO a VALUES (NULL)']);
		db.exec(' ;; ');
		assert.deepEqual(take(), []);
	});

	it('a prepared statement with all that was written before it', () => {
		const { db, take } = logged();
		db.prepare('\n  SELECT ?').get(1n);
		db.prepare(' ;\n; SELECT 2').get();
		assert.deepEqual(take(), ['\n  SELECT 1', ' ;\n; SELECT 2']);
	});

	it('pragmas, and the statements of transaction functions', () => {
		const { db, take } = logged();
		db.pragma('user_version');
		db.transaction(() => {})();
		db.transaction(() => {}).immediate();
		assert.deepEqual(take(), ['PRAGMA user_version', 'BEGIN', 'COMMIT', 'BEGIN IMMEDIATE', 'COMMIT']);
		db.transaction(() => { db.transaction(() => {})(); })();
		const nested = take();
		assert.equal(nested.length, 4);
		assert.match(nested[1], /^SAVEPOINT /);
		assert.match(nested[2], /^RELEASE /);
		throws(() => db.transaction(() => { throw new Error('mine'); })(), Error, 'mine');
		assert.deepEqual(take(), ['BEGIN', 'ROLLBACK']);
	});

	it('executions that fail, but not statements that could not be prepared or bound', () => {
		const { db, take } = logged();
		throwsSqlite(() => db.prepare('SELECT abs(-9223372036854775808)').get(), 'SQLITE_ERROR', 'integer overflow');
		assert.deepEqual(take(), ['SELECT abs(-9223372036854775808)']);
		throwsSqlite(() => db.prepare('SELECT nowhere'), 'SQLITE_ERROR');
		throwsSqlite(() => db.exec('SELECT nowhere'), 'SQLITE_ERROR');
		throws(() => db.prepare('SELECT ?').get(), RangeError, 'Too few parameter values were provided');
		assert.deepEqual(take(), []);
	});

	it('not what triggers, serialize, backup and registrations do', async () => {
		const { db, take } = logged('CREATE TABLE a (b); CREATE TABLE c (d); CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO c VALUES (new.b); END');
		db.exec('INSERT INTO a VALUES (1)');
		assert.deepEqual(take(), ['INSERT INTO a VALUES (1)']);
		db.function('f', () => 1).aggregate('g', { step: () => 1 });
		db.serialize();
		await db.backup(freshPath());
		assert.deepEqual(take(), []);
	});

	it('long values, perhaps shortened', () => {
		const { db, take } = logged();
		db.prepare('SELECT ?').get('x'.repeat(100));
		const [sql] = take();
		// The original is built with SQLITE_TRACE_SIZE_LIMIT=32, which shortens values and says by how much.
		assert.ok(sql === `SELECT '${'x'.repeat(100)}'` || sql === `SELECT '${'x'.repeat(32)}'/*+68 bytes*/`, sql);
	});

	it('only of its own database', () => {
		const { take } = logged();
		memory('SELECT 1');
		assert.deepEqual(take(), []);
	});
});

describe('verbose: the function', () => {
	it('is called with undefined for this', () => {
		let self = 'not called';
		const db = memory(undefined, { verbose() { self = this; } });
		db.exec('SELECT 1');
		assert.equal(self, undefined);
	});

	it('may return anything', () => {
		const db = memory(undefined, { verbose: () => Promise.resolve({}) });
		assert.equal(db.prepare('SELECT 1').pluck().get(), 1);
	});

	it('is called before the statement runs, while the database is busy', () => {
		let db;
		const caught = [];
		db = new Database(':memory:', { verbose: () => {
			try { db.prepare('SELECT 1'); } catch (error) { caught.push(error); }
			try { db.exec('SELECT 1'); } catch (error) { caught.push(error); }
			try { db.close(); } catch (error) { caught.push(error); }
		} });
		const select = db.prepare('SELECT 1');
		const runs = [() => db.exec('SELECT 1'), () => select.run(), () => select.get(), () => select.all(), () => [...select.iterate()], () => db.pragma('user_version')];
		for (const run of runs) {
			run();
			assert.deepEqual(caught.splice(0).map(({ message }) => message), [BUSY, BUSY, BUSY], String(run));
		}
	});

	for (const [title, value] of [['an error', new Error('mine')], ['null', null], ['undefined', undefined], ['a string', 'x']]) {
		it(`passes on ${title} that it throws, and the statement does not run`, () => {
			let broken = false;
			const db = memory('CREATE TABLE a (b); INSERT INTO a VALUES (1)', { verbose: () => { if (broken) throw value; } });
			const select = db.prepare('SELECT * FROM a');
			const insert = db.prepare('INSERT INTO a VALUES (2)');
			const iterator = select.iterate();
			broken = true;
			throwsValue(() => iterator.next(), value);
			assert.deepEqual(iterator.next(), { value: undefined, done: true });
			throwsValue(() => select.get(), value);
			throwsValue(() => select.all(), value);
			throwsValue(() => insert.run(), value);
			throwsValue(() => db.exec('INSERT INTO a VALUES (3)'), value);
			throwsValue(() => db.pragma('user_version'), value);
			throwsValue(() => db.transaction(() => 1)(), value);
			broken = false;
			assert.equal(select.all().length, 1);
			assert.equal(db.inTransaction, false);
			db.close();
		});
	}
});
