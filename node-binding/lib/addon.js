'use strict';
// Finds, loads and initialises the native addon.

const path = require('path');
const blobs = require('./blobs');
const SqliteError = require('./sqlite-error');
const makeRows = require('./rows');

// What native calls hand back beside their value; see `Instance::tell`.
const numbers = new Float64Array(new ArrayBuffer(4 * 8));
const initialised = new WeakSet();
const opened = new Map();
let standard;

function initialise(addon) {
	if (!initialised.has(addon)) {
		const makeError = (message, code) => new SqliteError(message, code);
		if (!addon.init(makeError, makeRows, Object.prototype, numbers.buffer, blobs.memory, blobs.mark)) {
			throw new TypeError('The addon object that "nativeBinding" names is used by another copy of kithdb; name its file');
		}
		initialised.add(addon);
	}
	return addon;
}

/** Returns the file of a module, or undefined where there is none. */
function find(name) {
	try {
		return require.resolve(name);
	} catch (error) {
		if (error.code !== 'MODULE_NOT_FOUND') throw error;
		return undefined;
	}
}

/** Returns the addon's file: that of the platform's package, or the one that was built here. */
function locate() {
	const platforms = require('./platforms.json');
	const ours = platforms.find(({ os, cpu }) => os === process.platform && cpu === process.arch);
	const file = (ours && find(`@kithdb/${ours.name}`)) ?? find('../build/kithdb.node');
	if (file !== undefined) return file;
	const here = `${process.platform} on ${process.arch}`;
	throw new Error(ours
		? `KithDB's addon for ${here} is not installed: its package, @kithdb/${ours.name}, is an optional dependency of kithdb, which a package manager can be told to leave out`
		: `KithDB has no addon for ${here}; there is one for ${platforms.map(({ name }) => name).join(', ')}`);
}

/** Loads the addon anew, as `require` would not: where a program has two copies of this package, each has its own. */
function open(file) {
	const module = { exports: {} };
	process.dlopen(module, path.toNamespacedPath(file));
	return initialise(module.exports);
}

/** Returns the addon of this platform, or the one that `nativeBinding` names or is. */
function load(nativeBinding) {
	if (nativeBinding != null && typeof nativeBinding !== 'string') return initialise(nativeBinding);
	const file = nativeBinding == null ? standard ??= locate() : path.resolve(nativeBinding).replace(/(\.node)?$/, '.node');
	if (!opened.has(file)) opened.set(file, open(require.resolve(file)));
	return opened.get(file);
}

module.exports = { load, numbers };
