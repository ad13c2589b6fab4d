"""From a training run to one ONNX file, its precision and its speed."""
