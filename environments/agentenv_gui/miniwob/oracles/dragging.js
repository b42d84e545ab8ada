// Dragging, drawing, and whatever is about places.
(() => {
  const {tell, words} = window.agentenvOracle;
  const {all, one, text, instruction, bold, match, click, drag, down, up, place, point, bare, memory, wait} = words;
  const submit = () => click('#subbtn, #controls button, #submit');
  const middle = (element) => {
    const {left, top, width, height} = element.getBoundingClientRect();
    return [left + width / 2, top + height / 2];
  };

  // The page's own figures follow the pointer with a part of their extent in between.
  const GRIP = {rect: 0.5, circle: 0.6, polygon: 0.4};
  const carried = (shape, x, y, onto = null) => {
    // So that the upper left corner of its box comes to lie at x, y of the picture.
    const box = shape.getBBox(), svg = one('svg').getBoundingClientRect();
    const grip = GRIP[shape.tagName] * box.width;
    const from = place(shape);
    if (from === null) return null;
    const to = [svg.left + x + grip, svg.top + y + grip];
    return drag([bare(from), point((from.x + to[0]) / 2, (from.y + to[1]) / 2), point(...to)], shape, onto);
  };
  const aside = {left: [-20, 0], right: [20, 0], up: [0, -20], down: [0, 20]};
  tell('drag-circle drag-single-shape', () => {
    const shape = one('svg > *');
    const direction = match(/(left|right|up|down)/)[0];
    const box = shape.getBBox(), now = shapes.gridCoords(shape);
    const done = {left: now.x < box.x, right: now.x > box.x, up: now.y < box.y, down: now.y > box.y}[direction];
    return done ? submit() : carried(shape, box.x + aside[direction][0], box.y + aside[direction][1]);
  });
  const sorted = (wanted, boxes) => {
    // wanted: figure → which box it belongs into, or -1 for none.
    const figures = all('#area_svg > *:not(#shape-container)');
    const within = (figure, box) => {
      const at = shapes.gridCoords(figure);
      return at.x > box.x && at.x < box.x + box.width && at.y > box.y && at.y < box.y + box.height;
    };
    for (const figure of figures) {
      const box = boxes[wanted(figure)];
      if (box && !within(figure, box)) {
        const index = figures.indexOf(figure);
        const [x, y] = [box.x + 6 + (index * 11) % (box.width - 25), box.y + 5 + (index * 7) % (box.height - 22)];
        return carried(figure, x, y, all('#shape-container')[wanted(figure)]);
      }
    }
    const stray = figures.find((figure) => wanted(figure) < 0 && boxes.some((box) => within(figure, box)));
    return stray ? carried(stray, 2, 135) : submit();
  };
  const containers = () => all('#shape-container').map((box) => box.getBBox());
  const TAGS = {rectangles: 'rect', circles: 'circle', triangles: 'polygon'};
  tell('drag-shapes', () => {
    const tag = TAGS[match(/Drag all (\w+)/)[0]];
    return sorted((figure) => (figure.tagName === tag ? 0 : -1), containers());
  });
  tell('drag-shapes-2', () => {
    const [what] = match(/Drag all (\w+)/);
    const fits = TAGS[what] ? (figure) => figure.tagName === TAGS[what] : (figure) => figure.getAttribute('fill') === what;
    return sorted((figure) => (fits(figure) ? 0 : 1), containers());
  });

  tell('drag-box', () => {
    const small = one('#draggableSmall'), large = one('#draggableLarge');
    const a = small.getBoundingClientRect(), b = large.getBoundingClientRect();
    if (smallBoxContained()) return submit();
    const from = place(small);
    if (from === null) {
      // It lies under the large one, which is moved away first.
      const grip = place(large);
      return drag([grip, point(grip.x + (b.left > 60 ? -50 : 50), grip.y)]);
    }
    const to = point(from.x + b.left + 15 - a.left, from.y + b.top + 15 - a.top);
    return drag([bare(from), point((from.x + to.x) / 2, (from.y + to.y) / 2), to]);
  });

  // Sorting: an item is carried to where another one lies, and a little beyond it.
  const moved = (items, from, to) => {
    const start = place(items[from]);
    const [x, y] = middle(items[to]), box = items[to].getBoundingClientRect();
    const beyond = Math.sign(to - from) * (box.height / 2 - 2);
    return drag([bare(start), point((start.x + x) / 2, (start.y + y) / 2), point(x, y), point(x, y + beyond)], items[from], items[to]);
  };
  const ordinal = (said, count, at) => {
    if (/top\.|to the top$/.test(said)) return 0;
    if (/bottom/.test(said)) return count - 1;
    if (/down by one/.test(said)) return at + 1;
    if (/up by one/.test(said)) return at - 1;
    return parseInt(said.match(/(\d+)/)[1], 10) - 1;
  };
  tell('drag-items', () => {
    const items = all('#sortable li');
    const [name, where] = match(/Drag (\S+) (.*)/);
    const at = items.findIndex((item) => text(item) === name);
    return {...moved(items, at, ordinal(where, items.length, at)), between: null};
  });
  tell('drag-items-grid', () => {
    const items = all('#sortable li');
    const [name, where] = match(/Drag (\S+) (.*)\./);
    const at = items.findIndex((item) => text(item) === name);
    const named = ['top left', 'top center', 'top right', 'center left', 'center', 'center right', 'bottom left',
      'bottom center', 'bottom right'].indexOf(where.replace('to the ', ''));
    const by = {'up by one': -3, 'down by one': 3, 'left by one': -1, 'right by one': 1}[where];
    const to = named >= 0 ? named : at + by;
    const start = place(items[at]), [x, y] = middle(items[to]);
    const beyond = 6 * Math.sign(to - at);
    return drag([bare(start), point((start.x + x) / 2, (start.y + y) / 2), point(x, y), point(x + beyond, y + beyond)]);
  });
  tell('drag-sort-numbers', () => {
    const items = all('#sortable li');
    const numbers = items.map((item) => Number(text(item)));
    const wanted = [...numbers].sort((a, b) => a - b);
    const to = numbers.findIndex((number, index) => number !== wanted[index]);
    return to < 0 ? submit() : moved(items, numbers.lastIndexOf(wanted[to]), to);
  });
  tell('resize-textarea', () => {
    const [dimension, direction] = bold();
    const area = one('#tt'), state = memory();
    state.size = state.size || [jQuery(area).width(), jQuery(area).height()];
    const now = dimension === 'width' ? jQuery(area).width() : jQuery(area).height();
    const before = state.size[dimension === 'width' ? 0 : 1];
    if (direction === 'larger' ? now > before : now < before) return submit();
    const by = direction === 'larger' ? 12 : -12;
    const handle = place(one(dimension === 'width' ? '.ui-resizable-e' : '.ui-resizable-s'));
    const across = dimension === 'width';
    return drag([bare(handle), point(handle.x + (across ? by : 0), handle.y + (across ? 0 : by))]);
  });

  // The cube turns by about as many degrees as the mouse is moved by pixels while its button is down, a little later.
  const GAIN = 1.18;
  const ACROSS = {3: 86, 2: 177, 5: 269, 4: 360}, UPRIGHT = 175;
  tell('drag-cube', () => {
    const {down: held, torqueX, torqueY, positionX, positionY} = cube.viewport;
    const wanted = Number(bold()[0]), pointer = words.pointer();
    if (Math.max(Math.abs(torqueX), Math.abs(torqueY)) > 1) return wait(0.15);
    if (text(one('.active')) === String(wanted)) return held ? up(point(...pointer)) : submit();
    const turn = (to, at) => ((to - at + 540) % 360) - 180;
    const left = [
      ACROSS[wanted] ? -turn(ACROSS[wanted], positionX % 360) / GAIN : 0,
      -turn({6: 88, 1: 264}[wanted] || UPRIGHT, positionY) / GAIN,
    ];
    if (!held) {
      const start = point(left[0] > 0 ? 20 : 140, left[1] > 0 ? 70 : 150);
      return pointer && pointer[0] === start.x && pointer[1] === start.y ? down(start) : {do: 'move', at: start};
    }
    const within = (value, low, high) => Math.max(low, Math.min(high, value));
    const to = point(within(pointer[0] + left[0], 5, 155), within(pointer[1] + left[1], 55, 205));
    return Math.hypot(to.x - pointer[0], to.y - pointer[1]) < 6 ? up(point(...pointer)) : {do: 'move', at: to};
  });

  tell('draw-circle', () => {
    if (one('svg path')) return submit();
    const [x, y] = middle(one('#circ'));
    const turn = (step) => point(x + 22 * Math.cos((step * Math.PI) / 18), y + 22 * Math.sin((step * Math.PI) / 18));
    return drag([...Array(37).keys()].map(turn));
  });
  tell('draw-line', () => {
    if (one('svg path')) return submit();
    const [x, y] = middle(one('#circ'));
    const across = /horizontal/.test(instruction());
    const at = (offset) => (across ? point(x + offset, y) : point(x, y + offset));
    return drag([at(-22), at(0), at(24)]);
  });

  // The pages put a dot at the click's place in the page, less fifty down, as their picture's coordinates.
  const best = (score) => {
    const {left, top, right, bottom} = one('svg').getBoundingClientRect();
    let found = null;
    for (let x = Math.ceil(left); x < Math.min(right, innerWidth); x += 1) {
      for (let y = Math.ceil(top); y < Math.min(bottom, innerHeight - 30); y += 1) {
        const value = score(x + scrollX, y + scrollY - 50);
        if ((found === null || value > found.value) && words.hits(one('svg'), x, y)) found = {x, y, value};
      }
    }
    return {do: 'click', at: point(found.x, found.y)};
  };
  const pinned = (score) => (one('#blue-circle') ? submit() : best(score));
  const box = (selector, index = 0) => all(selector)[index].getBBox();
  tell('circle-center', () => {
    const {x, y, width, height} = box('.black-circle');
    return pinned((left, top) => -Math.hypot(left - x - width / 2 - 0.5, top - y - height / 2 - 0.5));
  });
  tell('find-midpoint', () => {
    const a = box('.black-circle'), b = box('.black-circle', 1);
    return pinned((left, top) => -Math.hypot(left - 3.5 - (a.x + b.x) / 2, top - 3.5 - (a.y + b.y) / 2));
  });
  const angle = (a, b, corner) => {
    const turned = Math.atan2(a.y - corner.y, a.x - corner.x) - Math.atan2(b.y - corner.y, b.x - corner.x);
    const degrees = Math.abs((turned * 180) / Math.PI) % 360;
    return degrees > 180 ? 360 - degrees : degrees;
  };
  tell('bisect-angle', () => {
    const a = box('.init-black'), b = box('.init-black', 1), corner = box('.init-blue');
    const total = angle(a, b, corner);
    return pinned((left, top) => {
      const at = {x: left - 3.5, y: top - 3.5};
      if (Math.hypot(at.x - corner.x, at.y - corner.y) < 8) return -1000;
      const larger = Math.max(angle(a, at, corner), angle(b, at, corner));
      return larger > total ? -1000 : (total - larger) / (total / 2);
    });
  });
  tell('right-angle', () => {
    const a = box('#init-black'), corner = box('#init-blue');
    return pinned((left, top) => {
      const at = {x: left - 3, y: top - 3};
      return Math.hypot(at.x - corner.x, at.y - corner.y) < 8 ? -1000 : -Math.abs(90 - angle(a, at, corner));
    });
  });

  // Everything the place can still be, after what was said of those that the pointer was moved to.
  const RINGS = {HOT: [0, 5], WARM: [5, 10], COLD: [10, 40], 'ICE COLD': [40, 1e9]};
  tell('hot-cold', () => {
    const state = memory();
    if (!state.left) {
      state.left = [];
      for (let x = 5; x < 155; x += 1) for (let y = 5; y < 120; y += 1) state.left.push([x, y]);
    }
    const said = one('#signal'), at = words.pointer();
    if (said && at) {
      if (text(said) === 'HOT') return {do: 'click', at: point(at[0], at[1])};
      const [near, far] = RINGS[text(said)];
      const distance = ([x, y]) => Math.hypot(x - at[0], y - at[1] + 50);
      state.left = state.left.filter((each) => distance(each) >= near && distance(each) < far);
    }
    // Of some that it can be, the one that would leave the fewest.
    const {left} = state;
    const sample = left.filter((_, index) => index % Math.ceil(left.length / 60) === 0);
    const kept = ([x, y]) => {
      const counts = [0, 0, 0, 0];
      for (const [a, b] of sample) {
        const distance = Math.hypot(a - x, b - y);
        counts[distance < 5 ? 0 : distance < 10 ? 1 : distance < 40 ? 2 : 3] += 1;
      }
      return counts.reduce((sum, count) => sum + count * count, 0);
    };
    const [x, y] = sample.reduce((found, each) => (kept(each) < kept(found) ? each : found));
    return {do: 'move', at: point(x, y + 50)};
  });
})();
