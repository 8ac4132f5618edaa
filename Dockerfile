# parecido as a server.  See docs/server.md, or compose.yaml beside this file.

FROM python:3.12-slim AS build

# TensorFlow builds an encoder, once: Keras exports the network, and OpenVINO runs it from then on.
# The default encoder is built here, so TensorFlow can be left out of the image, two gigabytes of
# it.  Keep it (TENSORFLOW=yes) for libraries with another encoder.
ARG TENSORFLOW=no

ENV PARECIDO_CACHE=/opt/encoders PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH

WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY .package .package
COPY indexer indexer
COPY search search
RUN --mount=type=cache,target=/root/.cache/pip pip install .
RUN python -P -c "from parecido import load_encoder; load_encoder('efficientnet-lite0', device='cpu')"
RUN if [ "$TENSORFLOW" != yes ]; then \
      pip uninstall --yes tensorflow keras scipy libclang grpcio h5py; \
    fi


FROM python:3.12-slim

RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent parecido \
    && install -d -o parecido -g parecido /library /photos
COPY --from=build /opt/venv /opt/venv
COPY --from=build --chown=parecido:parecido /opt/encoders /opt/encoders

ENV PATH=/opt/venv/bin:$PATH \
    PARECIDO_CACHE=/opt/encoders \
    PARECIDO_LIBRARY=/library \
    KERAS_HOME=/opt/encoders/keras

USER parecido
VOLUME /library
EXPOSE 8000

# ready when the encoder and the index are open; a proxy of the environment is not asked
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", \
  "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:8000/readyz', timeout=4)"]

# It does not start without PARECIDO_TOKEN, for it can be reached from outside.
ENTRYPOINT ["parecido"]
CMD ["serve", "--host", "0.0.0.0", "--allow-index", "/photos"]
