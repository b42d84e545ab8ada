// Where things are, in pixels of the screen, and how much of them can be seen.
//
// A frame is how a document lies on the screen: its corner (x, y), and what of the screen it is seen through.
(() => {
  const VISIBLE = {visibilityProperty: true, contentVisibilityAuto: false, opacityProperty: false};

  const isVisible = (element) => element.checkVisibility(VISIBLE);
  const isShown = (element) => isVisible(element) && element.getClientRects().length > 0;

  const rectsOf = (node) => {
    if (node.nodeType !== Node.TEXT_NODE) return node.getClientRects();
    const range = node.ownerDocument.createRange();
    range.selectNodeContents(node);
    return range.getClientRects();
  };

  const screen = () => ({x: 0, y: 0, left: 0, top: 0, right: innerWidth, bottom: innerHeight});

  // What is left of a frame where it is seen through a rectangle.
  const through = (frame, rect) => ({
    ...frame,
    left: Math.max(frame.left, rect.left + frame.x), top: Math.max(frame.top, rect.top + frame.y),
    right: Math.min(frame.right, rect.right + frame.x), bottom: Math.min(frame.bottom, rect.bottom + frame.y),
  });

  // What can be seen of the inside of an element.
  const inside = (element, style, rect, frame) => {
    if (style.overflowX === 'visible' && style.overflowY === 'visible') return frame;
    return element === document.body || element === document.documentElement ? frame : through(frame, rect);
  };

  // How the document in an <iframe> lies, given how the one around it does.
  const framed = (element, style, rect, frame) => ({
    ...through(frame, rect),
    x: frame.x + rect.left + element.clientLeft + parseFloat(style.paddingLeft),
    y: frame.y + rect.top + element.clientTop + parseFloat(style.paddingTop),
  });
  const frameOf = (view) => {
    const element = view && view !== window ? view.frameElement : null;
    if (!element) return screen();
    const outer = frameOf(element.ownerDocument.defaultView);
    return framed(element, getComputedStyle(element), element.getBoundingClientRect(), outer);
  };

  // Of something that goes on over several lines, the largest part that can be seen: left, top, width and height.
  const largest = (rects, frame) => {
    let best = null;
    for (const rect of rects) {
      const {left, top, right, bottom} = through(frame, rect);
      const box = [left, top, right - left, bottom - top];
      const seen = box[2] >= 1 && box[3] >= 1;
      if (seen && (best === null || box[2] * box[3] > best[2] * best[3])) best = box;
    }
    return best;
  };

  // The element that has the keyboard, in whichever frame or shadow tree; none, if it is just a document.
  const active = () => {
    let at = document.activeElement;
    for (let inner = at; inner; at = inner || at) {
      inner = at.shadowRoot ? at.shadowRoot.activeElement : at.contentDocument ? at.contentDocument.activeElement : null;
    }
    return at && at !== at.ownerDocument.body && at !== at.ownerDocument.documentElement ? at : null;
  };

  Object.assign(agentenvEyes, {isVisible, isShown, rectsOf, screen, inside, framed, frameOf, largest, active});
})();
