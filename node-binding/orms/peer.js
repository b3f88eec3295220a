'use strict';
// A second device for a database that a program has written: it joins, syncs, and must hold the same rows.

const assert = require('assert/strict');
const { execFile, spawn } = require('child_process');
const readline = require('readline');
const { promisify } = require('util');
const Database = require('..');

const LOOPBACK = ['--no-mdns', '--listen', '/ip4/127.0.0.1/udp/0/quic-v1'];
const PATIENCE_MS = 120_000;
const run = promisify(execFile);

/** Starts `kith sync`; resolves to the process and the address that it listens at. */
function listen(kith, file) {
	const child = spawn(kith, ['sync', file, '--json', ...LOOPBACK], { stdio: ['pipe', 'pipe', 'inherit'] });
	return new Promise((resolve, reject) => {
		child.on('error', reject);
		child.on('exit', (status) => reject(new Error(`kith sync ended with ${status}`)));
		readline.createInterface(child.stdout).on('line', (line) => {
			const { event, address } = JSON.parse(line);
			if (event === 'listening') resolve({ child, address });
		});
	});
}

/** All rows of the synced tables, by table. */
function rowsOf(file) {
	const db = new Database(file, { readonly: true });
	const names = db.prepare("SELECT name FROM kith__tables WHERE state = 'synced' ORDER BY name").pluck().all();
	const rows = names.map((name) => {
		const quoted = `"${name.replaceAll('"', '""')}"`;
		const columns = db.prepare(`SELECT * FROM ${quoted}`).columns().length;
		const order = Array.from({ length: columns }, (_, index) => index + 1).join(', ');
		return [name, db.prepare(`SELECT * FROM ${quoted} ORDER BY ${order}`).safeIntegers().all()];
	});
	db.close();
	return rows;
}

/** Fails unless a second device ends with what the file has; returns how many rows those are. */
module.exports = async function checkPeer(kith, file) {
	const peerFile = `${file}-peer`;
	const tell = (...given) => run(kith, given, { timeout: PATIENCE_MS, maxBuffer: 1 << 26 });
	const { ticket } = JSON.parse((await tell('invite', file, '--role', 'writer', '--json')).stdout);
	const { child, address } = await listen(kith, file);
	const ended = new Promise((resolve) => { child.once('exit', resolve); });
	try {
		await tell('join', peerFile, ticket, '--name', 'phone', '--peer', address, '--no-mdns');
		await tell('sync', peerFile, '--once', '--peer', address, ...LOOPBACK);
	} finally {
		child.kill('SIGINT');
		await ended;
	}
	const [here, there] = [rowsOf(file), rowsOf(peerFile)];
	assert.deepEqual(there, here);
	for (const each of [file, peerFile]) {
		await tell('verify', each);
		assert.deepEqual(JSON.parse((await tell('conflicts', each, '--json')).stdout), []);
	}
	const count = here.reduce((sum, [, rows]) => sum + rows.length, 0);
	assert.notEqual(count, 0);
	return { tables: here.length, rows: count };
};
