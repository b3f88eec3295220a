#!/usr/bin/env node
'use strict';
// Runs a program under each mapper on the original better-sqlite3, on ours, and on ours with every table synced: all three must
// print the same, and after the last a second device must hold the same rows. `node run.js [NAME…]` runs some of them only.
//
// `KITHDB_ORMS_CACHE` names the folder for what is installed, `KITH` the `kith` program of the second device.

const { execFile } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { promisify } = require('util');
const { mappers, originals } = require('./install');
const checkPeer = require('./peer');

// The oldest Node that each mapper's own package.json allows.
const PROGRAMS = { drizzle: 18, knex: 16, objection: 14, typeorm: 20, kysely: 22, 'mikro-orm': 22, sequelize: 10, sqlite: 10 };
const PATIENCE_MS = 120_000;

function execute(node, given, folder) {
	return new Promise((resolve, reject) => {
		const options = { cwd: folder, timeout: PATIENCE_MS, maxBuffer: 1 << 28, env: { ...process.env, NODE_OPTIONS: '', NO_COLOR: '1', TZ: 'UTC' } };
		execFile(node, given, options, (error, stdout, stderr) => {
			if (error) reject(new Error(`${given.join(' ')} in ${folder}: ${error.message}\n${stdout.slice(-2000)}\n${stderr}`));
			else resolve(stdout);
		});
	});
}

/** Names the first line in which two outcomes differ. */
function difference(expected, found) {
	const [left, right] = [expected.split('\n'), found.split('\n')];
	const at = left.findIndex((line, index) => line !== right[index]);
	const index = at === -1 ? left.length : at;
	return `line ${index + 1}\n  original: ${left[index]}\n  ours:     ${right[index]}`;
}

/** Runs a program on the original and twice on ours; returns what is to be told. */
async function compare(name, version, node, original, ours, place, kith) {
	const start = async (folder, mode, label) => {
		const file = path.join(place, `${name}-${version}-${label}`, 'app.db');
		fs.mkdirSync(path.dirname(file));
		const printed = await execute(node, [path.join(folder, 'programs', 'start.js'), name, file, mode], folder);
		// Tools print the paths of their files.
		return { file, printed: printed.replaceAll(path.dirname(file), 'FOLDER') };
	};
	const expected = await start(original, 'plain', 'original');
	const lines = expected.printed.trimEnd().split('\n').length;
	for (const mode of ['plain', 'synced']) {
		const { file, printed } = await start(ours, mode, mode);
		if (printed !== expected.printed) throw new Error(`${name} on Node ${version}, ${mode}: ${difference(expected.printed, printed)}`);
		if (mode === 'synced' && kith) {
			const { tables, rows } = await checkPeer(kith, file);
			return `${name} on Node ${version}: ${lines} lines equal on original, plain and synced; second device equal in ${tables} tables, ${rows} rows`;
		}
	}
	return `${name} on Node ${version}: ${lines} lines equal on original, plain and synced; no second device, as KITH names no program`;
}

/** Goes from ours to the original and back with one file of synced tables, as docs/switching.md says, and then leaves for good. */
async function leave(node, original, ours, place, kith) {
	const file = path.join(place, 'leaving.db');
	const step = (name, folder, at = file) => execute(node, [path.join(folder, 'programs', 'leaving.js'), name, at], folder);
	await step('on ours', ours);
	await step('on the original', original);
	await step('on ours again', ours);
	if (kith) {
		const verified = await promisify(execFile)(kith, ['verify', file]).then(() => { throw new Error('kith verify found nothing'); }, (error) => error);
		for (const row of ['b', 'c', 'd']) {
			if (!new RegExp(`row '?${row}'?: .* by another program`).test(`${verified.stdout}${verified.stderr}`)) {
				throw new Error(`kith verify does not name row ${row}:\n${verified.stdout}${verified.stderr}`);
			}
		}
	}
	await step('for good', original);
	await step('plain on ours', ours);
	return `leaving: the original reads and writes the file, ${kith ? 'kith verify names the rows, ' : ''}and nothing is left when our tables are dropped`;
}

/** Runs an example's commands and checks what each prints. */
async function runExample({ name, from, folder }, node, version, place) {
	const home = fs.mkdtempSync(path.join(folder, 'run-'));
	fs.cpSync(from, home, { recursive: true });
	const file = path.join(place, `${name}-${version}.db`);
	const session = fs.readFileSync(path.join(from, '..', 'session.txt'), 'utf8');
	let printed = '';
	for (const [, command] of session.matchAll(/^> (.*)$/gm)) {
		printed += `> ${command}\n${await execute(node, ['app.js', file, ...command.split(' ')], home)}`;
	}
	if (printed !== session) throw new Error(`${name} on Node ${version}: ${difference(session, printed)}`);
	fs.rmSync(home, { recursive: true });
	return `${name} on Node ${version}: prints what examples/session.txt says`;
}

async function main(wanted) {
	for (const name of wanted) if (!(name in PROGRAMS)) throw new Error(`no program is called ${name}`);
	const kith = process.env.KITH;
	const found = originals();
	const folders = mappers(found);
	for (const folder of [folders.ours, folders.original12, folders.original13]) {
		fs.rmSync(path.join(folder, 'programs'), { recursive: true, force: true });
		fs.cpSync(path.join(__dirname, 'programs'), path.join(folder, 'programs'), { recursive: true });
	}
	const [own] = process.versions.node.split('.');
	const nodes = [
		{ version: Number(own), node: process.execPath, original: folders.original12 },
		{ version: 26, node: found.node26, original: folders.original13 },
	];
	const place = fs.mkdtempSync(path.join(os.tmpdir(), 'kithdb-orms-run-'));
	const jobs = [];
	for (const { version, node, original } of nodes) {
		for (const [name, oldest] of Object.entries(PROGRAMS)) {
			if (version < oldest || (wanted.length > 0 && !wanted.includes(name))) continue;
			jobs.push(() => compare(name, version, node, original, folders.ours, place, kith));
		}
		if (wanted.length === 0) for (const example of folders.examples) jobs.push(() => runExample(example, node, version, place));
	}
	if (wanted.length === 0) jobs.push(() => leave(process.execPath, folders.original12, folders.ours, place, kith));
	let failed = 0;
	const worker = async () => {
		for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
			await job().then((told) => console.log(told), (error) => {
				failed += 1;
				console.error(error.message);
			});
		}
	};
	await Promise.all(Array.from({ length: os.availableParallelism() }, worker));
	if (failed > 0) throw new Error(`${failed} failed; their files are in ${place}`);
	fs.rmSync(place, { recursive: true });
}

main(process.argv.slice(2)).catch((error) => {
	console.error(error.message);
	process.exitCode = 1;
});
