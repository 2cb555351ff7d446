# The stand-in for Qdrant: this project's local one, configured by the variables of the real image. See standins.sh.
ARG SERVICE_IMAGE
FROM vitrine-standin/python AS engine
COPY requirements.lock /
RUN sed -n '/^qdrant-edge-py==/,/[^\\]$/p' /requirements.lock > /engine.txt \
 && python3 -m venv /tools \
 && /tools/bin/pip install --no-cache-dir --quiet --require-hashes --no-deps --target /engine --requirement /engine.txt

FROM ${SERVICE_IMAGE}
USER root
COPY --from=engine /engine /engine
COPY local/vitrine_local /engine/vitrine_local
RUN groupadd --gid 1000 qdrant && useradd --uid 1000 --gid 1000 qdrant \
 && install --directory --owner=1000 --group=1000 /qdrant /qdrant/storage /qdrant/snapshots
ENV PYTHONPATH=/engine
WORKDIR /qdrant
USER 1000:1000
ENTRYPOINT ["sh", "-c", "VITRINE_QDRANT_API_KEY=$QDRANT__SERVICE__API_KEY exec python -m vitrine_local.qdrant --storage /qdrant/storage --host 0.0.0.0"]
