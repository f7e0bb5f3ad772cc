// Each part on its own: one that fails leaves the others alone.
function part(id, draw) {
  if (!byId(id)) return;
  try { draw(); } catch (error) {
    console.error(error);
    byId(id).append(el("p", { class: "notes" }, `This part could not be drawn: ${error.message}`));
  }
}

part("bars", drawBars);
part("charts", drawCurves);
part("sure", drawReliability);
part("main", drawExamples);
if (D.lengths) part("lengths", drawLengths);
addEventListener("load", () => setTimeout(() => part("lab", startLab))); // after the page is there to read

function startLab() {
  const said = byId("check"), limit = 1e-4;
  network = new Network(D.model);
  const largest = largestDifference(network, D.model.checks), count = D.model.checks.examples.length;
  said.dataset.difference = largest;
  if (!(largest <= limit)) {
    said.className = "notes";
    said.textContent = `This page computes other logits than ${D.model.checks.source}: they differ by up to ${few(largest)}. So the model is not shown.`;
    return;
  }
  said.textContent = `The model runs in this page. It computed ${count} examples again: no logit differs from that of ${D.model.checks.source} by more than ${largest.toExponential(1)} (limit ${limit}).`;
  const lab = new Lab(byId("lab"));
  window.lab = lab;
  openInModel = (name) => { lab.open(name); byId("live").scrollIntoView({ behavior: "smooth" }); lab.slider.focus({ preventScroll: true }); };
  lab.open(Object.keys(D.examples)[0]);
}
