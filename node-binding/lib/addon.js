'use strict';
// Finds, loads and initialises the native addon.

const path = require('path');
const blobs = require('./blobs');
const SqliteError = require('./sqlite-error');
const makeRows = require('./rows');

// What native calls hand back beside their value; see `Instance::tell`.
const numbers = new Float64Array(new ArrayBuffer(4 * 8));
const initialised = new WeakSet();
let standard;

function initialise(addon) {
	if (!initialised.has(addon)) {
		const makeError = (message, code) => new SqliteError(message, code);
		addon.init(makeError, makeRows, Object.prototype, numbers.buffer, blobs.memory, blobs.mark);
		initialised.add(addon);
	}
	return addon;
}

/** Returns the addon of this package, or the one that `nativeBinding` names or is. */
function load(nativeBinding) {
	if (nativeBinding == null) {
		return standard ??= initialise(require('../build/kithdb.node'));
	}
	if (typeof nativeBinding === 'string') {
		const file = path.resolve(nativeBinding).replace(/(\.node)?$/, '.node');
		return initialise(require(file));
	}
	return initialise(nativeBinding);
}

module.exports = { load, numbers };
