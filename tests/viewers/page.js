// Viewers that draw in a page, under one roof: each takes the URL of an image and fills `place`.
import GeoZarr from "ol/source/GeoZarr.js";
import TileLayer from "ol/layer/WebGLTile.js";
import OpenLayersMap from "ol/Map.js";
import { getView } from "ol/View.js";
import { PictureInPictureViewer, loadOmeZarr } from "@hms-dbmi/viv";
import React from "react";
import { createRoot } from "react-dom/client";
import { render } from "ome-zarr.js";

const place = () => document.getElementById("place");
const rgb = (hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16));

// As vizarr does: colours and windows are those of the metadata, and the middle of a volume is shown.
async function viv(url) {
  const { data, metadata } = await loadOmeZarr(url, { type: "multiscales" });
  const { labels, shape } = data[0];
  const middle = labels.slice(0, -2).map((axis, i) => [axis, axis === "z" ? shape[i] >> 1 : 0]);
  const selection = (c) => ({ ...Object.fromEntries(middle), ...(labels.includes("c") ? { c } : {}) });
  const { channels } = metadata.omero;
  const element = React.createElement(PictureInPictureViewer, {
    loader: data,
    contrastLimits: channels.map(({ window }) => [window.start, window.end]),
    colors: channels.map(({ color }) => rgb(color)),
    channelsVisible: channels.map(() => true),
    selections: channels.map((_, c) => selection(c)),
    overviewOn: false, height: 600, width: 800,
  });
  createRoot(place()).render(element);
  return { levels: data.map((level) => level.shape) };
}

async function omeZarrJs(url) {
  const image = document.createElement("img");
  image.style = "width: 800px; image-rendering: pixelated";
  image.src = await render(url);
  await image.decode();
  place().append(image);
  return { shape: [image.naturalHeight, image.naturalWidth] };
}

// What is 1 is green, what is 0 blue, and what is missing is not drawn.
async function openLayers(url, variable) {
  const source = new GeoZarr({ url, variable, transition: 0 });
  const color = ["case", ["<", ["band", 1], 0.5], [0, 0, 255, 1], [0, 255, 0, 1]];
  const layers = [new TileLayer({ source, style: { color } })];
  const map = new OpenLayersMap({ target: place(), layers, controls: [], view: getView(source) });
  await new Promise((done) => map.once("rendercomplete", done));
  const grid = source.getTileGrid();
  return {
    extent: grid.getExtent(), resolutions: grid.getResolutions(),
    projection: source.getProjection().getCode(),
  };
}

window.show = { viv, omeZarrJs, openLayers };
