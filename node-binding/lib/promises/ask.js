'use strict';
// Callbacks into promises.

/** Calls a method whose last argument is a callback, for what the callback is given, or for what `read` makes of its object. */
function ask(object, method, given, read) {
	return new Promise((resolve, reject) => {
		object[method](...given, function (error, value) {
			if (error) reject(error);
			else resolve(read ? read(this) : value);
		});
	});
}

/** Calls a row's callback for every row; for their number. */
function askEach(name, object, given) {
	const callback = given.pop();
	if (typeof callback !== 'function') throw new Error(`sqlite: Last param of ${name}() must be a callback function`);
	if (typeof given[given.length - 1] === 'function') {
		throw new Error(`sqlite: ${name}() should only have a single callback defined. See readme for usage.`);
	}
	return new Promise((resolve, reject) => {
		const onRow = (error, row) => (error ? callback(error, null) : callback(null, row));
		object.each(...given, onRow, (error, count) => (error ? reject(error) : resolve(count)));
	});
}

module.exports = { ask, askEach };
