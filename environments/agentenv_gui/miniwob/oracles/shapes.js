// Figures: their kind, their colour, their number.
(() => {
  const {tell, words} = window.agentenvOracle;
  const {all, one, text, match, click, withText} = words;
  const LARGE = 20;

  const figures = () => all('#area_svg > *').map((element) => {
    const tag = element.tagName;
    const said = tag === 'text' ? element.textContent : {rect: 'rectangle', circle: 'circle', polygon: 'triangle'}[tag];
    const kind = tag === 'text' ? (/\d/.test(said) ? 'digit' : 'letter') : 'shape';
    const size = tag === 'text' ? parseInt(element.getAttribute('font-size'), 10) : Math.round(element.getBBox().width);
    return {element, said, kind, size: size >= LARGE ? 'large' : 'small', color: element.getAttribute('fill')};
  });
  // Which figures a description such as "large red digit" fits.
  const described = (description) => {
    const said = description.split(' ');
    const what = said.pop();
    const size = said.find((word) => ['large', 'small'].includes(word));
    const color = said.find((word) => word !== size);
    return figures().filter((figure) => (!size || figure.size === size) && (!color || figure.color === color)
      && (what === 'item' || what === figure.said || what === figure.kind));
  };
  tell('click-shape', () => {
    const fitting = described(match(/Click on an? (.*)$/)[0]).map(({element}) => element);
    return click(fitting.find((element) => words.place(element)) || fitting[0]);
  });
  tell('count-shape', () =>
    click(withText('#count-buttons button', String(described(match(/How many (.*)s are there/)[0]).length))));
  tell('identify-shape', () => {
    const [{kind, said}] = figures();
    return click(`#area-buttons button[data-type="${kind === 'shape' ? said : kind}"]`);
  });

  // The number of corners: how often the outline's distance from the middle goes up and down in one turn.
  const corners = (canvas) => {
    const {width, height} = canvas;
    const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data;
    const dark = (x, y) => pixels[4 * (Math.round(y) * width + Math.round(x)) + 3] > 100;
    const turns = 360, distances = [];
    for (let turn = 0; turn < turns; turn += 1) {
      const angle = (turn * 2 * Math.PI) / turns;
      let distance = 45;
      while (distance > 0 && !dark(width / 2 + distance * Math.cos(angle), height / 2 + distance * Math.sin(angle))) distance -= 0.25;
      distances.push(distance);
    }
    const strength = (count) => {
      let real = 0, imaginary = 0;
      distances.forEach((distance, turn) => {
        real += distance * Math.cos((turn * count * 2 * Math.PI) / turns);
        imaginary += distance * Math.sin((turn * count * 2 * Math.PI) / turns);
      });
      return Math.hypot(real, imaginary);
    };
    return [3, 4, 5, 6, 7].reduce((best, count) => (strength(count) > strength(best) ? count : best));
  };
  tell('count-sides', () => click(`#form button[data-sides="${corners(one('#c'))}"]`));
})();
