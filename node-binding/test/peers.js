'use strict';
// What the tests of db.kith share: workspaces on loopback, and waiting for what another thread or process will do.
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { isDeepStrictEqual } = require('node:util');
const { Database, SUBJECT, freshPath } = require('./support');

// No test is about time: what does not happen within this long does not happen.
const DEADLINE_MS = 120_000;
// A test that fails leaves its peers behind, which must not keep the process.
const LOOPBACK = { listen: 'loopback', mdns: false, keepAlive: false };
const NOTES = 'CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT)';

// Resolves as the promise does, or rejects after the deadline.
function inTime(promise, what) {
	let timer;
	const late = new Promise((_, reject) => {
		timer = setTimeout(() => reject(new Error(`waited in vain for ${what()}`)), DEADLINE_MS);
	});
	return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Waits for an event of an emitter.
function event(emitter, name, isIt = () => true) {
	const heard = new Promise((resolve) => {
		emitter.on(name, function listener(value) {
			if (!isIt(value)) return;
			emitter.off(name, listener);
			resolve(value);
		});
	});
	return inTime(heard, () => `the event ${name}`);
}

// Waits, by a live query, until a query finds these rows.
function rowsBecome(db, sql, expected) {
	let stop;
	let last;
	const same = new Promise((resolve) => {
		stop = db.kith.watch(sql, (rows, error) => {
			last = error ?? rows;
			if (isDeepStrictEqual(rows, expected)) resolve(rows);
		}, { keepAlive: false });
	});
	return inTime(same, () => `${JSON.stringify(expected)}; there was ${JSON.stringify(last)}`).finally(() => stop());
}

// A new workspace with a synced table of notes.
function founder(name = 'desk') {
	const db = new Database(freshPath());
	db.kith.init({ name });
	db.exec(NOTES);
	db.kith.sync('notes');
	return db;
}

// A device that has joined the workspace of a running peer.
async function joinedTo(owner, name = 'phone') {
	const ticket = await owner.kith.invite({ role: 'writer', expires: '1h' });
	const db = new Database(freshPath());
	await db.kith.join(ticket, { name, mdns: false });
	return db;
}

// Starts a program in a process of its own, in which `Database` and `file` are in scope.
function startProgram(body, file) {
	const program = `'use strict';\nconst Database = require(${JSON.stringify(SUBJECT)});\nconst file = ${JSON.stringify(file)};\n${body}`;
	return watchProcess(spawn(process.execPath, ['-e', program], { stdio: ['pipe', 'pipe', 'pipe'] }));
}

// Gathers what a process prints, so that it can be waited for.
function watchProcess(child) {
	const running = { child, output: '', errors: '' };
	const heard = new Set();
	child.stdout.setEncoding('utf8').on('data', (text) => {
		running.output += text;
		for (const listener of [...heard]) listener();
	});
	child.stderr.setEncoding('utf8').on('data', (text) => {
		running.errors += text;
	});
	const ended = new Promise((resolve) => child.on('close', (status, signal) => resolve({ status, signal })));
	running.ended = () => inTime(ended, () => `the end of the process: ${running.output}${running.errors}`);
	// Waits for a line that it has printed, or will print.
	running.line = (pattern) => {
		const found = new Promise((resolve) => {
			const look = () => {
				const line = running.output.split('\n').slice(0, -1).find((line) => pattern.test(line));
				if (line === undefined) return;
				heard.delete(look);
				resolve(line);
			};
			heard.add(look);
			look();
		});
		const died = ended.then(() => assert.fail(`the process ended before ${pattern}: ${running.output}${running.errors}`));
		return inTime(Promise.race([found, died]), () => `${pattern} in ${running.output}${running.errors}`);
	};
	return running;
}

module.exports = { LOOPBACK, NOTES, inTime, event, rowsBecome, founder, joinedTo, startProgram, watchProcess };
