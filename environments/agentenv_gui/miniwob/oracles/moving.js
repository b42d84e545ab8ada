// Pages that move by themselves: the clock runs during an action, and while one waits.
(() => {
  const {tell, words} = window.agentenvOracle;
  const {all, one, text, match, click, wait, point, memory} = words;

  tell('stock-market', () => {
    const most = Number(match(/less than \$(\d+\.\d+)/)[0]);
    const [price] = (text(one('#stock-price')).match(/[\d.]+/) || []);
    return price && Number(price) <= most ? click('#buy') : wait(0.1);
  });
  tell('simon-says', () => {
    const state = memory();
    if (!state.seen) {
      // Buttons light up one after the other; what has lit up is remembered.
      state.seen = [];
      state.since = Date.now();
      state.observer = new MutationObserver((changes) => {
        for (const {target} of changes) if (target.classList.contains('push')) state.seen.push(target);
        state.since = Date.now();
      });
      for (const button of all('#area button')) state.observer.observe(button, {attributeFilter: ['class']});
    }
    if (Date.now() - state.since < 900) return wait(0.5);
    const pushed = words.clicked().filter((target) => target.tagName === 'BUTTON').length;
    return state.seen[pushed] ? click(state.seen[pushed]) : null;
  });
  tell('chase-circle', () => {
    const circle = one('#circ'), state = memory(), area = one('#area_svg').getBoundingClientRect();
    const at = [Number(circle.getAttribute('cx')), Number(circle.getAttribute('cy'))];
    // Half of the way that it went since the last look is the middle between where it is and where it will be.
    const went = state.at ? [at[0] - state.at[0], at[1] - state.at[1]] : [0, 0];
    state.at = at;
    return {do: 'move', at: point(area.left + at[0] + went[0] / 2, area.top + at[1] + went[1] / 2)};
  });
  tell('moving-items', () => {
    const area = one('#area_svg').getBoundingClientRect();
    const found = all('#area_svg .item').find((item) => {
      const {left, right, top, bottom} = item.getBoundingClientRect();
      const x = (left + right) / 2, y = (top + bottom) / 2;
      return x > area.left + 2 && x < innerWidth - 2 && y > area.top + 2 && y < Math.min(innerHeight, area.bottom) - 2;
    });
    if (!found) return wait(0.1);
    const {left, right, top, bottom} = found.getBoundingClientRect();
    return {do: 'click', at: point((left + right) / 2, (top + bottom) / 2)};
  });
})();
