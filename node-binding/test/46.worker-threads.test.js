'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { Worker } = require('node:worker_threads');
const { Database, SUBJECT, freshPath, memory, runProgram } = require('./support');

// Runs code in a worker and gives what it posts, together with the code it exits with.
function inWorker(body, workerData = {}) {
	const code = `'use strict';
		const { parentPort, workerData } = require('worker_threads');
		const Database = require(${JSON.stringify(SUBJECT)});
		${body}`;
	return new Promise((resolve, reject) => {
		const worker = new Worker(code, { eval: true, workerData });
		const messages = [];
		worker.on('message', (message) => messages.push(message));
		worker.on('error', reject);
		worker.on('exit', (exitCode) => resolve({ messages, exitCode }));
	});
}

describe('in a worker thread', () => {
	it('the package works as in the main thread', async () => {
		const { messages, exitCode } = await inWorker(`
			const db = new Database(':memory:');
			db.exec('CREATE TABLE a (b)');
			db.transaction(() => { for (let i = 0; i < 10; ++i) db.prepare('INSERT INTO a VALUES (?)').run(i); })();
			db.function('twice', (x) => x * 2);
			db.aggregate('add_all', { start: 0, step: (t, x) => t + x });
			db.table('three', { columns: ['n'], *rows() { yield [1]; yield [2]; yield [3]; } });
			parentPort.postMessage(db.prepare('SELECT add_all(twice(b)) FROM a').pluck().get());
			parentPort.postMessage([...db.prepare('SELECT n FROM three').pluck().iterate()]);
			try { db.prepare('SELECT nowhere'); } catch (error) { parentPort.postMessage([error instanceof Database.SqliteError, error.code, error.message]); }`);
		assert.deepEqual(messages, [90, [1, 2, 3], [true, 'SQLITE_ERROR', 'no such column: nowhere']]);
		assert.equal(exitCode, 0);
	});

	it('rows, buffers and bigints can be posted', async () => {
		const { messages } = await inWorker(`
			const db = new Database(':memory:');
			parentPort.postMessage(db.prepare("SELECT 1 AS a, 'x' AS b, x'00ff' AS c, NULL AS d").all());
			parentPort.postMessage(db.prepare('SELECT 9223372036854775807').pluck().safeIntegers().get());`);
		assert.deepEqual({ ...messages[0][0], c: [...messages[0][0].c] }, { a: 1, b: 'x', c: [0, 255], d: null });
		assert.equal(messages[1], 9223372036854775807n);
	});

	it('serialized databases can be sent in and out', async () => {
		const bytes = memory('CREATE TABLE a (b); INSERT INTO a VALUES (5)').serialize();
		const { messages } = await inWorker(`
			const db = new Database(Buffer.from(workerData.bytes));
			db.exec('INSERT INTO a VALUES (6)');
			parentPort.postMessage(db.serialize());`, { bytes });
		assert.deepEqual(new Database(Buffer.from(messages[0])).prepare('SELECT b FROM a').pluck().all(), [5, 6]);
	});

	it('a database can be written by several workers and the main thread', async () => {
		const file = freshPath();
		const db = new Database(file);
		db.pragma('journal_mode = WAL');
		db.exec('CREATE TABLE a (worker, n)');
		const workers = [1, 2, 3].map((worker) => inWorker(`
			const db = new Database(workerData.file, { timeout: 30000 });
			const insert = db.transaction((n) => db.prepare('INSERT INTO a VALUES (?, ?)').run(workerData.worker, n)).immediate;
			for (let n = 0; n < 100; ++n) insert(n);
			parentPort.postMessage(db.prepare('SELECT count(*) FROM a WHERE worker = ?').pluck().get(workerData.worker));`, { file, worker }));
		const insert = db.prepare("INSERT INTO a VALUES (0, 'main')");
		for (let n = 0; n < 50; ++n) insert.run();
		for (const { messages, exitCode } of await Promise.all(workers)) {
			assert.deepEqual(messages, [100]);
			assert.equal(exitCode, 0);
		}
		assert.equal(db.prepare('SELECT count(*) FROM a').pluck().get(), 350);
		assert.equal(db.pragma('integrity_check', { simple: true }), 'ok');
		db.close();
	});

	it('databases in memory belong to the thread', async () => {
		const db = memory('CREATE TABLE a (b)');
		const { messages } = await inWorker("parentPort.postMessage(new Database(':memory:').prepare('SELECT count(*) FROM sqlite_master').pluck().get());");
		assert.deepEqual(messages, [0]);
		assert.equal(db.open, true);
	});

	it('a database cannot be posted with its methods', async () => {
		const { messages } = await inWorker(`
			const db = new Database(':memory:');
			try { parentPort.postMessage(db); parentPort.postMessage('posted'); } catch (error) { parentPort.postMessage(error.name); }`);
		// Depending on how it is built, posting fails or leaves only the plain properties.
		const last = messages[messages.length - 1];
		assert.ok(last === 'DataCloneError' || last === 'posted');
		for (const message of messages) assert.notEqual(typeof message.prepare, 'function');
	});
});

describe('the end of a worker thread', () => {
	it('closes its databases', async () => {
		const file = freshPath();
		await inWorker("const db = new Database(workerData.file); db.exec('CREATE TABLE a (b); BEGIN EXCLUSIVE; INSERT INTO a VALUES (1)');", { file });
		const db = new Database(file, { timeout: 0 });
		db.exec('BEGIN EXCLUSIVE; COMMIT');
		assert.equal(db.prepare('SELECT count(*) FROM a').pluck().get(), 0);
		db.close();
	});

	it('may come from process.exit(), in the middle of an iteration or inside a user function', async () => {
		for (const body of [
			'process.exit(7);',
			"db.prepare('SELECT * FROM a').iterate().next(); process.exit(7);",
			"db.function('leave', () => { process.exit(7); }); db.prepare('SELECT leave()').get();",
			"db.table('t', { columns: ['c'], *rows() { yield [1]; process.exit(7); } }); db.prepare('SELECT * FROM t').all();",
		]) {
			const { exitCode } = await inWorker(`const db = new Database(':memory:'); db.exec('CREATE TABLE a (b); INSERT INTO a VALUES (1)'); ${body}`);
			assert.equal(exitCode, 7);
		}
	});

	it('may come from an exception', async () => {
		// How much of an error Node carries from thread to thread depends on its kind: the code is always there.
		await assert.rejects(inWorker("new Database(':memory:').exec('INSERT INTO nowhere VALUES (1)');"), (error) => error.code === 'SQLITE_ERROR');
	});

	it('may be terminate(), while it runs JavaScript or SQL', async () => {
		for (const loop of ['for (;;) db.prepare("SELECT 1").get();', 'db.function("f", () => { for (;;); }); db.prepare("SELECT f()").get();', 'for (const row of db.prepare("WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c) SELECT x FROM c").iterate()) row.x += 1;']) {
			const worker = new Worker(`const { parentPort } = require('worker_threads'); const Database = require(${JSON.stringify(SUBJECT)}); const db = new Database(':memory:'); parentPort.postMessage('ready'); ${loop}`, { eval: true });
			await new Promise((resolve, reject) => { worker.once('message', resolve); worker.once('error', reject); });
			assert.equal(await worker.terminate(), 1);
		}
		assert.equal(memory().prepare('SELECT 1').pluck().get(), 1);
	});

	it('leaves the databases of other threads alone', async () => {
		const db = memory('CREATE TABLE a (b); INSERT INTO a VALUES (1)');
		const statement = db.prepare('SELECT b FROM a').pluck();
		const iterator = statement.iterate();
		for (let i = 0; i < 5; ++i) await inWorker("new Database(':memory:').exec('CREATE TABLE a (b)');");
		assert.deepEqual(iterator.next(), { value: 1, done: false });
		iterator.return();
		assert.equal(statement.get(), 1);
	});

	it('does not crash a process that starts and ends many of them', () => {
		const result = runProgram(`
			const { Worker } = require('worker_threads');
			const code = \`const Database = require(${JSON.stringify(SUBJECT)}); const db = new Database(':memory:'); db.exec('CREATE TABLE a (b)'); db.prepare('SELECT * FROM a').iterate();\`;
			let left = 20;
			const next = () => { if (left-- > 0) new Worker(code, { eval: true }).on('exit', (c) => { if (c !== 0) process.exit(9); next(); }); };
			next(); next(); next();
			process.on('exit', (c) => { if (c === 0) process.stdout.write('fine'); });`);
		assert.equal(result.stdout, 'fine', result.stderr);
		assert.equal(result.status, 0);
	});
});
