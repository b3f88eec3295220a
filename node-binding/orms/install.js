'use strict';
// Installs what the programs run on, each in a folder outside the repository that is made once and used again.

const { createHash } = require('crypto');
const { execFileSync } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const PACKAGE = path.join(__dirname, '..');
const CACHE = path.resolve(process.env.KITHDB_ORMS_CACHE || path.join(os.tmpdir(), 'kithdb-orms'));

const hashOf = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest('hex').slice(0, 16);

function npm(folder, ...given) {
	// Debian and others install Node's headers beside it; native modules need no download then.
	const prefix = path.dirname(path.dirname(process.execPath));
	const env = { ...process.env };
	if (fs.existsSync(path.join(prefix, 'include', 'node', 'node.h'))) env.npm_config_nodedir ??= prefix;
	return execFileSync('npm', [...given, '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'], {
		cwd: folder, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'],
	});
}

/** Makes a folder unless it is there; one that is half made never bears the name. */
function folderOnce(folder, make) {
	if (fs.existsSync(folder)) return folder;
	const unfinished = `${folder}.${process.pid}`;
	fs.rmSync(unfinished, { recursive: true, force: true });
	fs.mkdirSync(unfinished, { recursive: true });
	make(unfinished);
	try {
		fs.renameSync(unfinished, folder);
	} catch (error) {
		// Another process may have been faster.
		if (!fs.existsSync(folder)) throw error;
		fs.rmSync(unfinished, { recursive: true });
	}
	return folder;
}

/** Removes what older versions of the same folder left. */
function removeOthers(folder) {
	const [kind] = path.basename(folder).split('-');
	for (const name of fs.readdirSync(path.dirname(folder))) {
		if (name.startsWith(`${kind}-`) && name !== path.basename(folder)) {
			fs.rmSync(path.join(path.dirname(folder), name), { recursive: true, force: true });
		}
	}
}

function copyManifest(from, to) {
	for (const name of ['package.json', 'package-lock.json']) fs.copyFileSync(path.join(from, name), path.join(to, name));
}

const readManifest = (folder) => ['package.json', 'package-lock.json'].map((name) => fs.readFileSync(path.join(folder, name)));

/** Returns the folders of the originals and the program of Node 26, as the environment names them; `cargo xtask test` sets them up. */
function originals() {
	const named = (variable) => {
		const value = process.env[variable];
		if (!value) throw new Error(`${variable} is not set; README.md says what it names`);
		return value;
	};
	return {
		betterSqlite12: named('KITHDB_BETTER_SQLITE3_12'),
		betterSqlite13: named('KITHDB_BETTER_SQLITE3_13'),
		sqlite3: named('KITHDB_SQLITE3'),
		node26: named('KITHDB_NODE_26'),
	};
}

/** Removes what clones that are gone have left. */
function removeAbandoned() {
	for (const name of fs.existsSync(CACHE) ? fs.readdirSync(CACHE) : []) {
		const owner = path.join(CACHE, name, 'clone');
		if (fs.existsSync(owner) && !fs.existsSync(fs.readFileSync(owner, 'utf8'))) {
			fs.rmSync(path.join(CACHE, name), { recursive: true, force: true });
		}
	}
}

/** Packs this package, and the one that stands in for sqlite3, as `npm publish` would; returns the tarballs by the names they get. */
function pack(folder) {
	const packed = (from) => {
		const [{ filename }] = JSON.parse(npm(from, 'pack', '--json', '--pack-destination', folder));
		return path.join(folder, filename);
	};
	return { 'kithdb.tgz': packed(PACKAGE), 'kithdb-sqlite3.tgz': packed(path.join(PACKAGE, 'alias', 'sqlite3')) };
}

/** Installs a folder's dependencies with the tarballs in place of the originals, as the manifest's aliases say. */
function installAliased(made, from, tarballs) {
	copyManifest(from, made);
	// The lock holds everything to its version and checksum but the tarballs, which were built just now.
	const lockFile = path.join(made, 'package-lock.json');
	const lock = JSON.parse(fs.readFileSync(lockFile, 'utf8'));
	for (const locked of Object.values(lock.packages)) {
		const name = locked.resolved?.replace('file:', '');
		if (!Object.hasOwn(tarballs, name)) continue;
		fs.copyFileSync(tarballs[name], path.join(made, name));
		locked.version = require('../package.json').version;
	}
	fs.writeFileSync(lockFile, JSON.stringify(lock));
	npm(made, 'install');
}

/** The mappers on this package, and on each original: returns the three folders by name. */
function mappers({ betterSqlite12, betterSqlite13, sqlite3 }) {
	// Each clone of the repository has its own, as each may have another build.
	const home = path.join(CACHE, hashOf(PACKAGE));
	removeAbandoned();
	fs.mkdirSync(home, { recursive: true });
	fs.writeFileSync(path.join(home, 'clone'), PACKAGE);
	const packed = fs.mkdtempSync(path.join(home, 'pack-'));
	try {
		const tarballs = pack(packed);
		const contents = Object.values(tarballs).map((tarball) => fs.readFileSync(tarball));
		const manifest = readManifest(__dirname);
		const ours = path.join(home, `ours-${hashOf(...manifest, ...contents)}`);
		folderOnce(ours, (made) => installAliased(made, __dirname, tarballs));
		removeOthers(ours);
		const original = (generation, betterSqlite) => {
			const folder = path.join(home, `original${generation}-${hashOf(...manifest, betterSqlite, sqlite3)}`);
			folderOnce(folder, (made) => {
				fs.cpSync(path.join(ours, 'node_modules'), path.join(made, 'node_modules'), { recursive: true, verbatimSymlinks: true });
				for (const [name, original] of [['better-sqlite3', betterSqlite], ['sqlite3', sqlite3]]) {
					const place = path.join(made, 'node_modules', name);
					fs.rmSync(place, { recursive: true });
					fs.symlinkSync(original, place);
				}
			});
			removeOthers(folder);
			return folder;
		};
		const examples = fs.readdirSync(path.join(PACKAGE, 'examples')).filter((name) => name.startsWith('todo-')).map((name) => {
			const from = path.join(PACKAGE, 'examples', name);
			const folder = path.join(home, `${name.replace('-', '')}-${hashOf(...readManifest(from), ...contents)}`);
			folderOnce(folder, (made) => installAliased(made, from, tarballs));
			removeOthers(folder);
			return { name, from, folder };
		});
		return { ours, original12: original(12, betterSqlite12), original13: original(13, betterSqlite13), examples };
	} finally {
		fs.rmSync(packed, { recursive: true });
	}
}

module.exports = { originals, mappers };
