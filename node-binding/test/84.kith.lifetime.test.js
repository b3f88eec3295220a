'use strict';
const { describe, it } = require('node:test');
const assert = require('node:assert/strict');
const { Worker } = require('node:worker_threads');
const { Database, SUBJECT, freshPath, runProgram } = require('./support');
const { LOOPBACK, event, founder, inTime, joinedTo, rowsBecome } = require('./peers');

const OPEN = "const db = new Database(file); const opened = db.kith.open({ listen: 'loopback', mdns: false });";
const ENDED = { status: 0, signal: null, stdout: '', stderr: '' };

function startWorker(body, file) {
	const code = `'use strict';
		const { parentPort } = require('worker_threads');
		const Database = require(${JSON.stringify(SUBJECT)});
		const file = ${JSON.stringify(file)};
		${body}`;
	const worker = new Worker(code, { eval: true });
	const exited = new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject));
	return { worker, exited: inTime(exited, () => 'the end of the worker') };
}

// Opens a peer as soon as the one that ran before has let go of the file.
async function openAgain(db) {
	for (;;) {
		try {
			return await db.kith.open(LOOPBACK);
		} catch (error) {
			assert.equal(error.code, 'KITH_ALREADY_RUNNING');
		}
	}
}

describe('a running peer', () => {
	it('keeps the program alive until it is closed', () => {
		const { name: file } = founder().close();
		const { status, stdout } = runProgram(`${OPEN}
			opened.then((peer) => setTimeout(() => { console.log('still there'); peer.close().then(() => console.log('closed')); }, 1).unref());`, { file });
		assert.deepEqual([status, stdout], [0, 'still there\nclosed\n']);
	});

	it('does not with keepAlive: false', () => {
		const { name: file } = founder().close();
		const body = "new Database(file).kith.open({ listen: 'loopback', mdns: false, keepAlive: false }).then(() => console.log('runs'))";
		assert.deepEqual(runProgram(body, { file }), { ...ENDED, stdout: 'runs\n' });
	});

	it('ends with the program, whenever that ends', () => {
		const { name: file } = founder().close();
		assert.deepEqual(runProgram(`${OPEN} opened.then(() => process.exit())`, { file }), ENDED);
		assert.deepEqual(runProgram(`${OPEN} process.exit()`, { file }), ENDED);
		assert.deepEqual(runProgram(`${OPEN} opened.then((peer) => { peer.close(); process.exit(); })`, { file }), ENDED);
		assert.deepEqual(runProgram(`${OPEN} db.kith.watch('SELECT 1', () => process.exit())`, { file }), ENDED);
		const busy = `${OPEN} opened.then(() => {
			const insert = db.prepare('INSERT INTO notes VALUES(?, ?)');
			for (let i = 0; i < 200; ++i) insert.run(process.pid + '-' + i, 'x');
			process.exit();
		})`;
		assert.deepEqual(runProgram(busy, { file }), ENDED);
		const uncaught = runProgram(`${OPEN} opened.then(() => { throw new Error('of the program'); })`, { file });
		assert.equal(uncaught.status, 1);
		assert.match(uncaught.stderr, /of the program/);
		assert.equal(new Database(file).prepare('SELECT count(*) FROM notes').pluck().get(), 200);
	});

	it('goes on when its database is closed, and sends what was committed before it is closed itself', async () => {
		const desk = founder();
		const atDesk = await desk.kith.open(LOOPBACK);
		const phone = await joinedTo(desk);
		const atPhone = await phone.kith.open(LOOPBACK);
		await rowsBecome(phone, "SELECT count(*) AS n FROM sqlite_schema WHERE name = 'notes'", [{ n: 1 }]);
		phone.prepare("INSERT INTO notes VALUES('last', 'words')").run();
		phone.close();
		await atPhone.close();
		await rowsBecome(desk, 'SELECT id FROM notes', [{ id: 'last' }]);
		await atDesk.close();
		desk.close();
	});

	it('can be closed while it is busy', async () => {
		const desk = founder();
		const insert = desk.prepare('INSERT INTO notes VALUES(?, ?)');
		desk.transaction(() => {
			for (let i = 0; i < 20_000; ++i) insert.run(`${i}`, `body ${i}`);
		})();
		const atDesk = await desk.kith.open(LOOPBACK);
		const phone = await joinedTo(desk);
		const atPhone = await phone.kith.open(LOOPBACK);
		await event(atPhone, 'progress');
		await Promise.all([atPhone.close(), atPhone.close(), atDesk.close()]);
		const [first, second] = [await desk.kith.open(LOOPBACK), await phone.kith.open(LOOPBACK)];
		await rowsBecome(phone, 'SELECT count(*) AS n FROM sqlite_schema WHERE name = \'notes\'', [{ n: 1 }]);
		await rowsBecome(phone, 'SELECT count(*) AS n FROM notes', [{ n: 20_000 }]);
		await Promise.all([first.close(), second.close()]);
	});

	it('runs in a worker, and ends when the worker is terminated', async () => {
		const desk = founder();
		const atDesk = await desk.kith.open(LOOPBACK);
		const phone = await joinedTo(desk);
		for (let round = 0; round < 3; ++round) {
			const connected = event(atDesk, 'connected');
			const { worker, exited } = startWorker(`${OPEN}
				db.kith.watch('SELECT 1', () => {});
				opened.then(() => parentPort.postMessage('runs'), (error) => parentPort.postMessage(error.code));`, phone.name);
			const [message] = await Promise.all([event(worker, 'message')]);
			assert.equal(message, 'runs');
			await connected;
			const disconnected = event(atDesk, 'disconnected');
			await worker.terminate();
			await exited;
			await disconnected;
			// What the worker had running lets go of the file a moment later.
			await (await openAgain(phone)).close();
		}
		desk.prepare("INSERT INTO notes VALUES('1', 'a')").run();
		const atPhone = await openAgain(phone);
		await rowsBecome(phone, "SELECT count(*) AS n FROM sqlite_schema WHERE name = 'notes'", [{ n: 1 }]);
		await rowsBecome(phone, 'SELECT body FROM notes', [{ body: 'a' }]);
		await atPhone.close();
		await atDesk.close();
	});

	it('ends with a worker that was the only one to load the package', () => {
		const { name: file } = founder().close();
		const { name: waiting } = new Database(freshPath()).exec('CREATE TABLE a (b)').close();
		const inWorker = `
			const { parentPort } = require('worker_threads');
			const Database = require(${JSON.stringify(SUBJECT)});
			const waiting = new Database(${JSON.stringify(waiting)});
			new Database(${JSON.stringify(file)}).kith.open({ listen: 'loopback', mdns: false }).then(() => parentPort.postMessage('runs'));`;
		// Node unloads an addon with the last worker that has it, if nothing keeps it.
		const program = `
			const { Worker } = require('worker_threads');
			const worker = new Worker(${JSON.stringify(inWorker)}, { eval: true });
			worker.on('message', async () => { await worker.terminate(); setTimeout(() => console.log('over'), 500); });`;
		const result = require('node:child_process').spawnSync(process.execPath, ['-e', program], { encoding: 'utf8', timeout: 60_000 });
		assert.deepEqual([result.status, result.signal, result.stdout], [0, null, 'over\n'], result.stderr);
	});

	it('what is under way when a worker is terminated harms nobody', async () => {
		const desk = founder();
		const ticket = await desk.kith.invite({ role: 'writer' });
		for (let round = 0; round < 5; ++round) {
			const phone = new Database(freshPath());
			const { worker, exited } = startWorker(`
				const db = new Database(file);
				db.kith.join(${JSON.stringify(ticket)}, { name: 'phone', mdns: false });
				new Database(${JSON.stringify(desk.name)}).kith.open({ listen: 'loopback', mdns: false });
				parentPort.postMessage('begun');`, phone.name);
			await event(worker, 'message');
			await worker.terminate();
			await exited;
			phone.close();
		}
		assert.deepEqual(desk.pragma('integrity_check'), [{ integrity_check: 'ok' }]);
	});
});
