// What a page cannot have here, put among its own scripts: it has one window of one size, and the mouse is not its own.
(() => {
  const refused = (name) => function () { return Promise.reject(new DOMException(`${name} is not allowed here`, 'NotAllowedError')); };
  const put = (on, name, value) => {
    if (name in on) Object.defineProperty(on, name, {value, writable: true, configurable: true, enumerable: true});
  };
  for (const name of ['requestFullscreen', 'webkitRequestFullscreen', 'webkitRequestFullScreen', 'requestPointerLock']) {
    put(Element.prototype, name, refused(name));
  }
  for (const name of ['resizeTo', 'resizeBy', 'moveTo', 'moveBy', 'print', 'close']) put(window, name, function () {});
})();
