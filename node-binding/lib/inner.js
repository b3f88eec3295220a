'use strict';
// What is behind a `Database` that the user holds: the addon, its handle, the settings.

const inner = new WeakMap();

/** Returns what is behind a database; anything else is no database. */
function innerOf(database) {
	const found = inner.get(database);
	if (found === undefined) throw new TypeError('Illegal invocation');
	return found;
}

module.exports = { inner, innerOf };
