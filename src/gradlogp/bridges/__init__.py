"""Bridges: what is learned here, in the forms that people know. One file for each library, imported
when asked for; none is needed by the rest of the house.

`sklearn` estimators, `pyod` names, `fit_any` (any network), `export` (ONNX, PyTorch export, Hub,
TensorBoard, CSV), `track` (live numbers), `diffusers`, `arviz`, `notebook`.
"""
