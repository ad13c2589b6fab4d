"""Run an exported segmentation network: contract, preprocessing, runtime, bone line."""
